"""A small search of a user's own model, and one in which every kind of fault strikes."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.caches import new_cache

from tunefront.search import Experiment, Trial, load_experiment
from tunefront.search.cluster.supervisor import RaySupervisor
from tunefront.search.run.events import Event
from tunefront.search.run.preflight import check_workload
from tunefront.search.run.runner import Runner
from tunefront.search.run.sampler_factory import build_sampler
from tunefront.search.run.stopping import Stopping
from tunefront.search.study.inferred_failures import ExcludedConfigurations
from tunefront.search.study.study import Study
from tunefront.search.terminal.events import event_text

EXPERIMENT = """\
name: small
workload: {task: custom, model: "mine:model", inputs: "mine:inputs", quality: "mine:quality"}
space:
  precision: [fp32, bf16]
  batch_size: {low: 1, high: 64}
baseline: {runtime: torch, precision: fp32, batch_size: 1, threads: 1}
objectives: {score: maximize, weights_mb: minimize}
budget: {trials: 60}
sampler: grid
measurement: {seconds: 0.05, turns: 3, requests: 2, wait: 0, reference: false}
confirmation: {finalists: 2, rounds: 2}
timeouts: {build: 60, quality: 60, measure: 60}
"""
ROOT = Path(__file__).parents[2]
MEMORY_MB = 2048


def small_experiment(folder: Path) -> Path:
    """The experiment's file, in a folder with the user's module."""
    (folder / "mine.py").write_text((Path(__file__).parent / "mine.py").read_text())
    path = folder / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


def variables(folder: Path) -> dict[str, str]:
    """A cache of its own, and no server; workers find the bodies of these tests."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    cache = str(new_cache(folder / "cache"))
    return {**kept, "TUNEFRONT_CACHE": cache, "NO_COLOR": "1", "PYTHONPATH": path}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The process's environment as `variables` says; the folder that it is about."""
    folder = tmp_path_factory.mktemp("faults")
    before = dict(os.environ)
    os.environ.update(variables(folder))
    yield folder
    os.environ.clear()
    os.environ.update(before)


Search = Callable[..., "Searched"]


class Searched:
    """A search that has ended.

    Attributes:
        experiment: What was searched.
        study: Its record.
        trials: All of it.
        said: Texts of the events.
    """

    def __init__(self, experiment: Experiment, study: Study, said: Sequence[str]) -> None:
        self.experiment = experiment
        self.study = study
        self.trials: Sequence[Trial] = study.trials()
        self.said = said


def searched(
    path: Path,
    plan: Mapping[int, tuple[str, str]],
    trials: int,
    during: Callable[[Runner, RaySupervisor, Trial], None] = lambda runner, host, trial: None,
) -> Searched:
    """Run trials with planned faults: real study, real Ray, real evaluations.

    Args:
        path: The experiment's file.
        plan: Stage and fault by trial number.
        trials: How many trials there are.
        during: Called with every trial when it ends.
    """
    experiment = load_experiment(path)
    said: list[str] = []

    def on_event(event: Event) -> None:
        said.append(event_text(event))

    settings, described = check_workload(experiment, on_event)
    study = Study.open(experiment, {"workload": described.fingerprint})
    (experiment.results / "faults.json").write_text(json.dumps(plan))
    runnable = experiment.space.enumerate().runnable
    with RaySupervisor(experiment.results, cores=1, gpus=0) as host:
        runner = Runner(
            study,
            build_sampler(experiment, runnable),
            runnable,
            replace(settings, memory_mb=MEMORY_MB),  # memory is out soon
            concurrent=1,
            stopping=Stopping(trials=trials),
            on_trial=lambda trial: during(runner, host, trial),
            on_event=on_event,
            body="tests.faults.bodies:trial",
        )
        # Every fault occurs, whatever is inferred from the others.
        runner.excluded = ExcludedConfigurations((), experiment.space.catalog)
        runner.reconcile()
        runner.run(host)
    return Searched(experiment, study, said)
