"""A small search of a user's model, and one with planned faults in its trials."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
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
  batch_size: {low: 1, high: 128}
baseline: {runtime: torch, batch_size: 1, threads: 1}
objectives: {score: maximize, weights_mb: minimize}
budget: {trials: 60}
sampler: grid
measurement: {seconds: 0.05, turns: 3, requests: 2, wait: 0, reference: false}
confirmation: {finalists: 2, rounds: 2}
timeouts: {build: 60, quality: 60, measure: 60}
"""
ROOT = Path(__file__).parents[2]
MEMORY_MB = 1024
"""Limit of each step of a trial; the tasks that fill the memory reach it quickly."""


def small_experiment(folder: Path) -> Path:
    """Write the experiment and the user's module; return the experiment's file."""
    (folder / "mine.py").write_text((Path(__file__).parent / "mine.py").read_text())
    path = folder / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


def variables(folder: Path) -> dict[str, str]:
    """Return an environment with a cache of its own, no server, and these tests on the path."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    cache = str(new_cache(folder / "cache"))
    return {**kept, "TUNEFRONT_CACHE": cache, "NO_COLOR": "1", "PYTHONPATH": path}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Set the process's environment to `variables`; yield their folder."""
    folder = tmp_path_factory.mktemp("faults")
    before = dict(os.environ)
    os.environ.update(variables(folder))
    yield folder
    os.environ.clear()
    os.environ.update(before)


class FaultySearch:
    """A search with planned faults: real study, real Ray, real evaluations.

    Attributes:
        experiment: The experiment.
        events: Texts of the events.
    """

    def __init__(self, path: Path) -> None:
        self.experiment: Experiment = load_experiment(path)
        self.events: list[str] = []
        settings, described = check_workload(self.experiment, self._on_event)
        self._settings = replace(settings, memory_mb=MEMORY_MB)
        self._fingerprint = described.fingerprint
        self._runnable = self.experiment.space.enumerate().runnable

    @property
    def study(self) -> Study:
        """The record, opened again."""
        return Study.open(self.experiment, {"workload": self._fingerprint})

    def run(
        self,
        supervisor: RaySupervisor,
        plan: Mapping[int, tuple[str, str]],
        trials: int,
        on_trial: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        """Run trials, as a driver does that resumes the search.

        Args:
            supervisor: Where they run.
            plan: Stage and fault by trial number.
            trials: How many trials the record has in the end.
            on_trial: Called with every trial when it ends.
        """
        (self.experiment.results / "faults.json").write_text(json.dumps(plan))
        runner = Runner(
            self.study,
            build_sampler(self.experiment, self._runnable),
            self._runnable,
            self._settings,
            concurrent=1,
            stopping=Stopping(trials=trials),
            on_trial=on_trial,
            on_event=self._on_event,
            body="tests.faults.bodies:trial",
        )
        # Every fault occurs, whatever is inferred from the others.
        runner.excluded = ExcludedConfigurations((), self.experiment.space.catalog)
        runner.reconcile()
        runner.run(supervisor)

    def _on_event(self, event: Event) -> None:
        self.events.append(event_text(event))
