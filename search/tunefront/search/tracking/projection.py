"""Idempotent projection of the study into MLflow, written by one process at a time.

One MLflow experiment per search, one flat run per trial, and a summary run. Existing data is not
written again, so a second projection changes nothing, and data left incomplete by a killed process
or an unreachable server is completed.

Each run is created with the tag `tunefront.trial`, which names its trial. The tag `trial` is
written after the run's content, when the run's id is known. A run whose creation request got no
response lacks `trial`: it is adopted if its trial has no other run, and deleted otherwise.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tunefront.evaluators.exports.registry import SHA256
from tunefront.search.deploy.export_record import digests_by_trial
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.report.front_chart import ROLE_COLOURS
from tunefront.search.results.result import Result, rounded
from tunefront.search.results.view import TrialView
from tunefront.search.study.outputs import outputs_of
from tunefront.search.study.storage import sqlite_path
from tunefront.search.study.trial import Trial
from tunefront.search.text import command_text
from tunefront.spaces import TrackingError, show
from tunefront.spaces.metric import LEVEL_SIGN

from .address import remember, shown_by
from .base import Tracker
from .default_views import views_of
from .note import Links, front_page, search_note
from .output_tables import LOGGED, logged_with, outputs_table
from .output_tables import OUTPUTS_FILE as SAMPLES
from .store import artifact_folder, connect, tracking_uri, ui_address
from .views import View, logged_name, view_address, write_views

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LONGEST_TAG = 5_000
SUMMARY = "★ summary"
TRIAL = "trial"
MADE_FOR = "tunefront.trial"
SEARCH = "tunefront.search_id"
CURVE = "curve/"
"""Start of the names of metrics that have a value for each step."""
LOAD = "load/"
"""Start of the names of metrics that have a value for each load level, as their step."""
DISTRIBUTION = "distribution/"
"""Start of the names of metrics with a value for each percentage of requests, as their step."""
MOST_IN_A_BATCH = 1000
"""Values that MLflow takes in one call."""
Points = Sequence[tuple[int, float]]
"""Values of a curve, each with its step."""
_PASSING = ("picks", "proposed", "reason", "stage")
"""Tags that are cleared when they no longer apply. `pick` belongs to the user: never written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A run as MLflow holds it."""

    run_id: str
    status: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    params: Mapping[str, str]

    @classmethod
    def of(cls, run: "Run") -> "_Known":
        return cls(
            run_id=str(run.info.run_id),
            status=str(run.info.status),
            tags=run.data.tags,
            metrics=run.data.metrics,
            params=run.data.params,
        )

    @property
    def claim(self) -> tuple[bool, bool, str]:
        """Sort key for the runs of one trial: complete runs first."""
        return TRIAL not in self.tags, self.status == "RUNNING", self.run_id


class Projection(Tracker):
    """The projection of one search into MLflow.

    Args:
        experiment: The experiment.
        search_id: The unique id of the search; distinguishes searches of the same name.

    Attributes:
        obstacle: Why links can't use saved views; empty if they can.
    """

    def __init__(self, experiment: Experiment, search_id: str) -> None:
        self.experiment = experiment
        self._search_id = search_id
        self._client: MlflowClient = connect(experiment)
        self.experiment_id = self._find_or_make()
        self._runs = self._known_runs()
        self.obstacle = ""

    def _find_or_make(self) -> str:
        """Return the id of this search's MLflow experiment; create it if missing.

        A number is appended to a name that another search has taken.
        """
        for number in range(1, 1000):
            name = self.experiment.name.replace("/", " ") + ("" if number == 1 else f" ({number})")
            found = self._client.get_experiment_by_name(name)
            if found is None:
                return self._make(name)
            if found.tags.get(SEARCH) == self._search_id and found.lifecycle_stage == "active":
                return str(found.experiment_id)
        raise TrackingError(f"MLflow: too many experiments named {self.experiment.name!r}")

    def _make(self, name: str) -> str:
        location = None
        if sqlite_path(tracking_uri(self.experiment)) is not None:
            location = artifact_folder(self.experiment).absolute().as_uri()
        tags = {SEARCH: self._search_id, "mlflow.experimentKind": "custom_model_development"}
        return str(self._client.create_experiment(name, artifact_location=location, tags=tags))

    def _known_runs(self) -> dict[str, _Known]:
        """Return the runs by trial number, or `summary`; delete duplicates."""
        found: dict[str, list[_Known]] = {}
        for run in self._all_runs():
            key = run.tags.get(TRIAL) or run.tags.get(MADE_FOR)
            if key:
                found.setdefault(key, []).append(run)
        known: dict[str, _Known] = {}
        for key, runs in found.items():
            known[key], *surplus = sorted(runs, key=lambda run: run.claim)
            for run in surplus:
                self._client.delete_run(run.run_id)
        return known

    def _all_runs(self) -> list[_Known]:
        runs: list[_Known] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], max_results=1000, page_token=token
            )
            runs += map(_Known.of, page)
            token = page.token
            if not token:
                return runs

    def write_trials(self, trials: Iterable[Trial], result: Result) -> int:
        """Write all ended trials; return how many were missing or different in MLflow."""
        return sum(self.write_trial(t, result) for t in trials if t.status != "running")

    def write_trial(self, trial: Trial, result: Result) -> bool:
        """Write what MLflow lacks of an ended trial; return whether anything was written."""
        key = str(trial.number)
        known = self._runs.get(key) or self._make_run(trial, result)
        view = result.view(trial)
        tags = {name: text[:LONGEST_TAG] for name, text in _tags(view, result).items()}
        cleared = {name: "" for name in _PASSING if name in known.tags and name not in tags}
        wanted = _Known(
            run_id=known.run_id,
            status="FAILED" if trial.status == "failed" else "FINISHED",
            tags={**known.tags, **tags, **cleared, TRIAL: key},
            metrics={**known.metrics, **_metrics(view), **_last_of(_curves(trial))},
            params={**{name: show(v) for name, v in trial.configuration.items()}, **known.params},
        )
        if wanted == known:
            return False
        self._log(known, wanted, _curves(trial))
        if known.status != wanted.status:
            ended = trial.ended.timestamp() if trial.ended else time.time()
            self._client.set_terminated(
                known.run_id, status=wanted.status, end_time=int(ended * 1000)
            )
        self._runs[key] = wanted
        return True

    def _make_run(self, trial: Trial, result: Result) -> _Known:
        started = trial.started.timestamp() if trial.started else time.time()
        run = self._client.create_run(
            self.experiment_id,
            start_time=int(started * 1000),
            run_name=result.view(trial).short_name,
            tags={MADE_FOR: str(trial.number)},
        )
        return _Known.of(run)

    def _log(
        self,
        known: _Known,
        wanted: _Known,
        stepped: Mapping[str, Points] = MappingProxyType({}),
    ) -> None:
        """Write new values in one batch; MLflow stores parameters first and tags last.

        Curves are written before, each value with its step.

        Args:
            known: The run as MLflow holds it.
            wanted: The run as it should be.
            stepped: The curves by name; their last values are metrics of `wanted`.
        """
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        new = {n: v for n, v in wanted.metrics.items() if known.metrics.get(n) != v}
        curves = [
            Metric(name, value, now, step)
            for name, points in stepped.items()
            if name in new
            for step, value in points
        ]
        for first in range(0, len(curves), MOST_IN_A_BATCH):
            self._client.log_batch(known.run_id, metrics=curves[first : first + MOST_IN_A_BATCH])
        metrics = [Metric(n, v, now, 0) for n, v in new.items() if n not in stepped]
        params = [Param(n, v) for n, v in wanted.params.items() if n not in known.params]
        tags = [RunTag(n, t) for n, t in wanted.tags.items() if known.tags.get(n) != t]
        if metrics or params or tags:
            self._client.log_batch(known.run_id, metrics=metrics, params=params, tags=tags)

    def run_id(self, trial: Trial) -> str | None:
        """Return the id of the trial's run; None if it has none."""
        run = self._runs.get(str(trial.number))
        return None if run is None else run.run_id

    def link(self, result: Result) -> str:
        """Save the views and store the front's address next to the record; return the address."""
        views = self.views(result)
        self.obstacle = write_views(
            self._client, self.experiment_id, views, shown_by(self.experiment)
        )
        remember(self.experiment, self.experiment_id, views[0], saved=not self.obstacle)
        page = view_address(self.experiment_id, views[0], saved=not self.obstacle)
        return f"{ui_address(self.experiment)}/{page}"

    def views(self, result: Result) -> list[View]:
        """Return the views of the search."""
        baseline = result.baseline
        base_run = self.run_id(baseline) if baseline is not None else None
        has_outputs = any(LOGGED in run.tags for run in self._runs.values())
        return views_of(result, base_run, has_outputs=has_outputs)

    def add_files(self, trial: Trial, folder: Path, below: str) -> str:
        """Log a folder's files below a name in the trial's run; return their address.

        Raises:
            TrackingError: If the trial has no run.
        """
        run_id = self.run_id(trial)
        if run_id is None:
            raise TrackingError(
                f"MLflow: trial {trial.number} has no run; `tunefront sync "
                f"{self.experiment.path}` makes it"
            )
        self._client.log_artifacts(run_id, str(folder), below)
        address = ui_address(self.experiment)
        return f"{address}/#/experiments/{self.experiment_id}/runs/{run_id}/artifacts/{below}"

    def write_result(self, result: Result, files: Path) -> str:
        """Write the views, the experiment's note and the summary run; return the front's address.

        Args:
            result: The search's result.
            files: Folder of the files that the summary run stores.
        """
        self._runs = self._known_runs()  # again: the server can have created a run late
        self._write_loads(result)
        self._write_samples(result)
        link = self.link(result)
        note = front_page(result, self._links(result, self._summary_run(result, files)))
        self._client.set_experiment_tag(self.experiment_id, "mlflow.note.content", note)
        return link

    def _links(self, result: Result, summary: str) -> Links:
        """Return relative links, which are valid wherever the store is served."""
        runs = f"#/experiments/{self.experiment_id}/runs"
        saved = not self.obstacle
        return Links(
            runs={t.number: f"{runs}/{i}" for t in result.trials if (i := self.run_id(t))},
            views={
                v.title: view_address(self.experiment_id, v, saved=saved)
                for v in self.views(result)
            },
            picture=f"get-artifact?path=front.png&run_uuid={summary}",
            report=f"{runs}/{summary}/artifacts/report.html",
        )

    def _write_loads(self, result: Result) -> None:
        """Write the metrics over the load levels; at the end, when confirmation has changed them.

        MLflow keeps every value that it gets for a step.
        """
        for trial in result.trials:
            known, curves = self._runs.get(str(trial.number)), _over_levels(trial)
            if known is not None and curves:
                wanted = replace(known, metrics={**known.metrics, **_last_of(curves)})
                self._log(known, wanted, curves)
                self._runs[str(trial.number)] = wanted

    def _write_samples(self, result: Result) -> None:
        """Write the shortlist's outputs once, for MLflow's artifact view; write the tag last."""
        shortlist = {view.number: view.trial for view in result.shortlist}
        for number, samples in outputs_of(result.experiment, [*shortlist.values()]).items():
            known = self._runs.get(str(number))
            if known is None or (tag := logged_with(known.tags.get(LOGGED, "[]"))) is None:
                continue
            table = outputs_table(samples, shortlist[number], self.experiment.primary)
            self._client.log_text(known.run_id, json.dumps(table), SAMPLES)
            wanted = replace(known, tags={**known.tags, LOGGED: tag})
            self._log(known, wanted)
            self._runs[str(number)] = wanted

    def _summary_run(self, result: Result, files: Path) -> str:
        key = "summary"
        known = self._runs.get(key)
        if known is None:
            run = self._client.create_run(
                self.experiment_id, run_name=SUMMARY, tags={MADE_FOR: key}
            )
            known = self._runs[key] = _Known.of(run)
        self._client.log_artifacts(known.run_id, str(files))
        note = {"mlflow.note.content": result.headline()[:LONGEST_TAG]}
        own = {TRIAL: key, "status": "summary", "front": "none"}
        self._log(known, replace(known, tags={**known.tags, **note, **own}))
        self._client.set_terminated(known.run_id)
        return known.run_id


def _tags(view: TrialView, result: Result) -> dict[str, str]:
    trial = view.trial
    tags = {
        "status": trial.status,
        "front": str(view.on_front).lower() if trial.measured else "none",
        "shortlist": str(view.shortlisted).lower(),
        "role": view.role_text,
        "trust": view.trust_note,
        "mlflow.runColor": ROLE_COLOURS[view.role],
        "mlflow.note.content": search_note(view, result),
        "mlflow.source.name": command_text("run", result.experiment.path),
    }
    if trial.reason:
        tags["proposed"] = trial.reason
    if view.picks:
        tags["picks"] = view.role_text
    if sha256 := digests_by_trial(result.experiment).get(trial.number):
        tags[SHA256] = sha256
    if trial.cause:
        tags["reason"] = trial.cause
    evaluation = trial.evaluation
    if evaluation is not None:
        if evaluation.stage is not None:
            tags["stage"] = evaluation.stage
            tags["reason"] = f"{evaluation.cause}: {evaluation.message}"
        tags["facts"] = json.dumps(dict(evaluation.facts))
        tags["machine"] = json.dumps(dict(evaluation.machine))
    return tags


def _over_levels(trial: Trial) -> dict[str, Points]:
    """Return a trial's metrics of several load levels by MLflow's name, with the level as step.

    Steps are whole numbers: if a level is none, the step is the place of the level, from 1.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for name, measurement in trial.measurements.items():
        plain, _, level = name.partition(LEVEL_SIGN)
        if level and math.isfinite(measurement.value):
            found.setdefault(LOAD + plain, []).append((float(level), rounded(measurement.value)))
    whole = all(level.is_integer() for points in found.values() for level, _ in points)
    return {
        name: [
            (int(level) if whole else place, value)
            for place, (level, value) in enumerate(sorted(points), start=1)
        ]
        for name, points in found.items()
    }


def _curves(trial: Trial) -> dict[str, Points]:
    """Return curves and distributions of a trial by MLflow's name.

    Values that are not finite are left out.
    """
    evaluation = trial.evaluation
    if evaluation is None:
        return {}
    found = {
        f"{CURVE}{name}": [(step, value) for step, value in points if math.isfinite(value)]
        for name, points in evaluation.curves.items()
    }
    found |= {
        DISTRIBUTION + logged_name(name): [(int(step), rounded(value)) for step, value in points]
        for name, points in evaluation.distributions.items()
    }
    return {name: points for name, points in found.items() if points}


def _last_of(curves: Mapping[str, Points]) -> dict[str, float]:
    """Return the last value of each curve, which is the one that MLflow shows in tables."""
    return {name: points[-1][1] for name, points in curves.items()}


def _metrics(view: TrialView) -> dict[str, float]:
    """Return a run's metrics: measurements, ratios, chance, numeric choices, seconds per stage.

    All but choices are rounded to four digits, because MLflow prints every digit that it gets.
    Values that are not finite are left out.
    """
    trial = view.trial
    metrics = {logged_name(name): rounded(m.value) for name, m in trial.measurements.items()}
    found = {
        "speedup_x": view.speedup,
        "memory_saving_x": view.memory_saving,
        "front_chance": view.chance,
    }
    metrics |= {name: rounded(value) for name, value in found.items() if value is not None}
    for name, value in trial.configuration.items():
        if isinstance(value, int | float):
            metrics[f"choice/{name}"] = float(value)
    if trial.evaluation is not None:
        for stage, seconds in trial.evaluation.seconds.items():
            metrics[f"seconds/{stage}"] = rounded(seconds)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
