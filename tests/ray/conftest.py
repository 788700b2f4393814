"""A real Ray with four logical GPUs, and trials whose body is ours."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunefront.evaluators import Setting
from tunefront.search.experiment import Experiment, load_experiment
from tunefront.search.runner import Body, Runner
from tunefront.search.samplers import build_sampler
from tunefront.search.session import QUIET_ENVIRONMENT
from tunefront.search.study import Study
from tunefront.search.trial import Trial
from tunefront.spaces import Gpu, Hardware, detect_hardware

FILE = """\
name: placement
workload: {task: causal-lm, model: m, data: d.jsonl}
space:
SPACE
baseline: {device: cuda, threads: 1}
objectives: {throughput: maximize, perplexity: minimize}
budget: {trials: 100}
sampler: grid
"""
LoadFile = Callable[[str], Experiment]
RunAll = Callable[..., list[Trial]]


@pytest.fixture(scope="session")
def ray_with_gpus() -> Iterator[None]:
    """Four logical GPUs and four logical cores; workers find the bodies in this folder."""
    os.environ.update(QUIET_ENVIRONMENT)
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    import ray

    ray.init(
        address="local",  # not whatever cluster somebody left running on this machine
        num_cpus=4,
        num_gpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()


@pytest.fixture
def load_file(tmp_path: Path) -> LoadFile:
    """An experiment for a machine with four GPUs."""
    detected = detect_hardware()
    hardware = Hardware(
        cpu=detected.cpu,
        cores=4,
        memory_mb=8192,
        gpus=(Gpu(name="logical", memory_mb=1024, capability=(9, 0)),) * 4,
        libraries=detected.libraries,
    )

    def load(space: str) -> Experiment:
        path = tmp_path / "experiment.yaml"
        path.write_text(FILE.replace("SPACE", space))
        return load_experiment(path, hardware=hardware)

    return load


@pytest.fixture
def run_all(ray_with_gpus: None) -> RunAll:
    """Run a search to its end with a given body."""

    def run(experiment: Experiment, body: Body, concurrent: int = 4) -> list[Trial]:
        study = Study.open(experiment, {"test": "yes"})
        runner = Runner(
            study,
            build_sampler(experiment, experiment.space.enumerate().runnable),
            Setting(workload=experiment.workload, fingerprint="f", store="unused"),
            concurrent=concurrent,
            trials=experiment.budget.trials,
            seconds=120,
            on_trial=lambda trial: None,
            body=body,
        )
        runner.reconcile()
        runner.run()
        return study.trials()

    return run
