"""A real Ray with four logical GPUs, and trials whose body is ours."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunefront.evaluators import EvaluationSettings
from tunefront.search.cluster.supervisor import RaySupervisor
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.run.runner import Runner
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.search.run.stopping import Stopping
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
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
MOST_TRIALS = 100
IDENTITY = {"test": "yes"}
LoadFile = Callable[[str], Experiment]
RunAll = Callable[..., list[Trial]]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaySupervisor]:
    """Start Ray with four logical GPUs and cores; workers find the bodies in this folder."""
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with RaySupervisor(tmp_path_factory.mktemp("ray"), cores=4, gpus=4) as up:
        yield up


@pytest.fixture(scope="module")
def load_file(tmp_path_factory: pytest.TempPathFactory) -> LoadFile:
    """Return a function that loads an experiment, in a folder of its own, for four GPUs."""
    detected = detect_hardware()
    hardware = Hardware(
        cpu=detected.cpu,
        cores=4,
        memory_mb=8192,
        gpus=(Gpu(name="logical", memory_mb=1024, capability=(9, 0)),) * 4,
        libraries=detected.libraries,
    )

    def load(space: str) -> Experiment:
        path = tmp_path_factory.mktemp("experiment") / "experiment.yaml"
        path.write_text(FILE.replace("SPACE", space))
        return load_experiment(path, hardware=hardware)

    return load


@pytest.fixture(scope="module")
def run_all(host: RaySupervisor) -> RunAll:
    """Return a function that runs a search to its end with a body of bodies.py."""

    def run(
        experiment: Experiment, body: str, concurrent: int = 1, most: int = MOST_TRIALS
    ) -> list[Trial]:
        study = Study.open(experiment, IDENTITY)
        runner = runner_of(study, body, concurrent, most)
        runner.reconcile()
        runner.run(host)
        return study.trials()

    return run


def runner_of(study: Study, body: str, concurrent: int = 1, most: int = MOST_TRIALS) -> Runner:
    """Return a runner whose trials do what a function of bodies.py does."""
    experiment = study.experiment
    runnable = experiment.space.enumerate().runnable
    return Runner(
        study,
        build_sampler(experiment, runnable),
        runnable,
        EvaluationSettings(workload=experiment.workload, fingerprint="f", store="unused"),
        concurrent=concurrent,
        stopping=Stopping(trials=most),
        on_trial=lambda trial: None,
        body=f"tests.ray.bodies:{body}",
    )
