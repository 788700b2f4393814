"""History: what earlier searches on this machine measured, kept in the cache.

A trial is kept as multiples of its search's baseline, so that searches of other models and loads
can be compared. How far another search resembles it is learnt by the surrogates
(observations.py).
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators import Metric, WorkloadDescription
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.store.store import cache_folder
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.study.atomic_write import write_whole
from tunefront.search.study.trial import Trial
from tunefront.spaces import Value

HISTORY_VARIABLE = "TUNEFRONT_HISTORY"
"""Environment variable that turns the history off, with the value 0."""
FORMAT = 1
MOST_KEPT = 100
"""Searches kept in the cache; the oldest are removed."""
MOST_USED = 3
"""Searches that another one learns from: the most similar ones."""
MOST_TRIALS = 40
"""Trials of each search that are learnt from, evenly spaced; fitting costs the cube of all."""
FEWEST_TRIALS = 4
"""Searches with fewer measured trials are neither kept nor learnt from."""
SAME_MODEL = 0.1
"""Distance between two searches of the same model, of the 1 between two values of a choice."""
OTHER_MODEL = 0.05
"""Distance added for another kind of model, and for each factor of 10 between their sizes."""
OTHER_MACHINE = 0.3
"""Distance added for another kind of machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a search measures, and where: by this searches are similar.

    Attributes:
        task: Task of the workload.
        module: Name of the model's class; empty if unknown.
        parameters: Number of parameters; 0 if unknown.
        machine: Fingerprint of the kind of machine.
    """

    task: str
    module: str
    parameters: int
    machine: str

    def distance(self, other: "Subject") -> float:
        """Return the distance to another search's subject, from `SAME_MODEL` to about 1."""
        apart = SAME_MODEL
        if self.module != other.module:
            apart += OTHER_MODEL
        if self.parameters and other.parameters:
            apart += OTHER_MODEL * abs(math.log10(self.parameters / other.parameters))
        if self.machine != other.machine:
            apart += OTHER_MACHINE
        return min(apart, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTrial:
    """A measured trial of an earlier search.

    Attributes:
        values: A value for every choice of its catalogue.
        multiples: Metrics other than quality as multiples of the baseline's.
        differences: Quality metrics, and what is derived from them, minus the baseline's.
    """

    values: Mapping[str, Value]
    multiples: Mapping[str, float]
    differences: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSearch:
    """An earlier search.

    Attributes:
        name: Name of its experiment.
        folder: Folder of its record.
        subject: What was measured, and where.
        baseline: A value for every choice of the catalogue.
        trials: Its measured trials.
        format: Version of this format.
    """

    name: str
    folder: str
    subject: Subject
    baseline: Mapping[str, Value]
    trials: tuple[PastTrial, ...]
    format: int = FORMAT


def subject_of(experiment: Experiment, described: WorkloadDescription) -> Subject:
    """Return what an experiment's search measures, and where."""
    return Subject(
        task=experiment.workload.task,
        module=described.module,
        parameters=described.parameters,
        machine=experiment.space.context.hardware.fingerprint,
    )


def save_history(experiment: Experiment, subject: Subject, trials: Sequence[Trial]) -> None:
    """Keep the measured trials of a search; nothing if there are too few, or for a quick check.

    A cache that cannot be written keeps nothing: no search fails because of later ones.
    """
    measured = [trial for trial in trials if trial.measured]
    if experiment.smoke or not is_on() or len(measured) < FEWEST_TRIALS or not trials[0].measured:
        return
    search = PastSearch(
        name=experiment.name,
        folder=str(experiment.results),
        subject=subject,
        baseline=dict(trials[0].complete),
        trials=tuple(_past_trial(trial, trials[0], experiment.metrics) for trial in measured[1:]),
    )
    number = hashlib.sha256(search.folder.encode()).hexdigest()[:16]
    with suppress(OSError):
        write_whole(_folder() / f"{number}.json", json.dumps(to_plain(search)))
        files = sorted(_folder().glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files[:-MOST_KEPT]:
            path.unlink(missing_ok=True)


def load_history(experiment: Experiment, subject: Subject) -> list[PastSearch]:
    """Return the most similar earlier searches of the task, the most similar one first.

    A search's own record is left out, and what cannot be read. The list is empty if the experiment
    does not want a history.
    """
    if not experiment.history or experiment.smoke or not is_on() or not _folder().is_dir():
        return []
    found = [search for path in sorted(_folder().glob("*.json")) if (search := _read(path))]
    similar = [
        search
        for search in found
        if search.subject.task == subject.task and search.folder != str(experiment.results)
    ]
    return sorted(similar, key=lambda search: subject.distance(search.subject))[:MOST_USED]


def is_on() -> bool:
    """Return whether the environment lets searches keep and use a history."""
    return os.environ.get(HISTORY_VARIABLE) != "0"


def _folder() -> Path:
    return cache_folder() / "history"


def _read(path: Path) -> PastSearch | None:
    """Return a kept search; None if the file is broken or of another format."""
    try:
        search = from_plain(PastSearch, json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return search if search.format == FORMAT else None


def _past_trial(trial: Trial, baseline: Trial, metrics: Mapping[str, Metric]) -> PastTrial:
    multiples, differences = {}, {}
    for name, measurement in trial.measurements.items():
        known = baseline.measurements.get(name)
        if known is None:
            continue
        if name not in metrics or metrics[name].kind == "quality":
            differences[name] = measurement.value - known.value
        elif known.value > 0 and measurement.value > 0:
            multiples[name] = measurement.value / known.value
    return PastTrial(values=dict(trial.complete), multiples=multiples, differences=differences)
