"""Comparison of trials: choices, facts, measurements, and outputs for the same items.

All trials are compared with the first one. Nothing here prints or reads files.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tunefront.evaluators import Measurement, Metric, Sample
from tunefront.evaluators.statistics.formatting import number_text, percent_text, value_text
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted
from tunefront.spaces import show

from .result import Result, choices_of

SAME_ITEM = 0.01
"""Largest difference of an item's quality that counts as equal; right and wrong differ by more."""
ITEMS = 12
"""Number of items compared by their quality if no outputs are recorded."""
OWN_WAY = ("waited_s", "warmup_s", "evaluated_items", "items")
"""Facts about the evaluation, not about the candidate."""


Distances = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """A choice or fact of every trial.

    Attributes:
        name: The name of the choice or fact.
        cells: The value of each trial as text, in the order of the trials.
    """

    name: str
    cells: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether any trial's value differs from the first one's."""
        return len(set(self.cells)) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """A metric of every trial.

    Attributes:
        metric: The metric.
        cells: The measurement of each trial; None if it has none.
    """

    metric: Metric
    cells: Sequence[Measurement | None]

    @property
    def differs(self) -> bool:
        """Whether any trial's formatted value differs from the first one's."""
        return len({value_text(cell) if cell is not None else "-" for cell in self.cells}) > 1

    def ratio(self, place: int) -> float | None:
        """Return a trial's value / the first trial's; None unless both are positive."""
        own, base = self.cells[place], self.cells[0]
        if own is None or base is None or not (own.value > 0 and base.value > 0):
            return None
        ratio = own.value / base.value
        return ratio if math.isfinite(ratio) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """One item of the quality data with each trial's output and quality.

    Attributes:
        item: Index of the item in the quality data.
        outputs: The output of each trial; None if not recorded.
        quality: The quality of each trial on this item; None if not evaluated.
        distance: The largest absolute difference of quality to the first trial's: relative for a
            linear metric, a difference of logarithms for a metric of scale `log`.
    """

    item: int
    outputs: Sequence[Sample | None]
    quality: Sequence[float | None]
    distance: float

    @property
    def example(self) -> Sample | None:
        """The first recorded output of any trial, which holds the item's input; None if none is."""
        return next((sample for sample in self.outputs if sample is not None), None)

    def differs(self, place: int) -> bool:
        """Return whether a trial's output differs from the first one's."""
        own, base = self.outputs[place], self.outputs[0]
        return own is not None and base is not None and own.output != base.output

    @property
    def differing(self) -> int:
        """The number of trials whose output differs from the first one's."""
        return sum(self.differs(place) for place in range(len(self.outputs)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDifference:
    """The differences of a trial from the first trial, item by item.

    Attributes:
        trial: The trial.
        differing: Number of outputs that differ.
        outputs: Number of outputs recorded for both trials.
        better: Items on which the trial is better, largest difference first.
        worse: Items on which the trial is worse, largest difference first.
        items: Number of items that both were evaluated on.
    """

    trial: Trial
    differing: int
    outputs: int
    better: Sequence[int]
    worse: Sequence[int]
    items: int


@dataclass(frozen=True, kw_only=True)
class TrialComparison:
    """The comparison of several trials of one search.

    Attributes:
        result: The result of the search.
        trials: The trials; the first is the reference.
        outputs: The recorded outputs by trial number.
    """

    result: Result
    trials: Sequence[Trial]
    outputs: Mapping[int, Sequence[Sample]]

    @cached_property
    def primary(self) -> Metric:
        """The primary quality metric, which has a value per item."""
        return self.result.experiment.primary

    @cached_property
    def choices(self) -> list[TrialRow]:
        """Every choice that any of the trials has."""
        names = list(dict.fromkeys(name for trial in self.trials for name in trial.configuration))
        return [TrialRow(name=n, cells=[choices_of(t, [n])[n] for t in self.trials]) for n in names]

    @cached_property
    def facts(self) -> list[TrialRow]:
        """Status, reliability and read-back facts, without choices and metrics."""
        trust = [self.result.view(trial).trust_text for trial in self.trials]
        first = [
            TrialRow(name="status", cells=[_status(trial) for trial in self.trials]),
            TrialRow(name="trust", cells=trust),
        ]
        found = [t.evaluation.facts if t.evaluation is not None else {} for t in self.trials]
        known = {*OWN_WAY, *(row.name for row in self.choices), *self.result.experiment.metrics}
        names = [n for n in dict.fromkeys(name for facts in found for name in facts)]
        return first + [
            TrialRow(name=n, cells=[_fact(facts[n]) if n in facts else "-" for facts in found])
            for n in names
            if n not in known
        ]

    @cached_property
    def metrics(self) -> list[MetricRow]:
        """Every metric that any of the trials has."""
        return [
            MetricRow(metric=metric, cells=[t.measurements.get(name) for t in self.trials])
            for name, metric in self.result.experiment.metrics.items()
            if any(name in trial.measurements for trial in self.trials)
        ]

    @cached_property
    def items(self) -> list[ItemRow]:
        """The items with recorded outputs; if there are none, those whose quality differs most.

        Sorted by the number of differing outputs, then by distance, largest first.
        """
        known = [{s.item: s for s in self.outputs.get(t.number, ())} for t in self.trials]
        places = sorted({item for samples in known for item in samples})
        distances = [_distances(self.trials[0], t, self.primary) for t in self.trials]
        if not places:
            places = _farthest(distances)
        rows = [
            ItemRow(
                item=place,
                outputs=[samples.get(place) for samples in known],
                quality=[item_quality(trial, place, self.primary) for trial in self.trials],
                distance=max((abs(_at(d, place)) for d in distances), default=0.0),
            )
            for place in places
        ]
        return sorted(rows, key=lambda row: (-row.differing, -row.distance, row.item))

    @cached_property
    def differences(self) -> list[TrialDifference]:
        """The differences of every other trial from the first one."""
        first, *others = self.trials
        return [self._difference(first, place, trial) for place, trial in enumerate(others, 1)]

    def _difference(self, first: Trial, place: int, trial: Trial) -> TrialDifference:
        distances = _distances(first, trial, self.primary)
        both = [row for row in self.items if row.outputs[0] and row.outputs[place]]
        return TrialDifference(
            trial=trial,
            differing=sum(row.differs(place) for row in both),
            outputs=len(both),
            better=_beyond(distances),
            worse=_beyond(-distances),
            items=int(np.isfinite(distances).sum()),
        )


def item_quality(trial: Trial, item: int, primary: Metric) -> float | None:
    """Return a trial's quality on one item on the metric's scale; None if not evaluated."""
    values, weights = trial.evaluation.items if trial.evaluation is not None else ((), ())
    if item >= len(values) or not weights[item] > 0:
        return None
    return math.exp(min(values[item], 700.0)) if primary.scale == "log" else float(values[item])


def _distances(first: Trial, trial: Trial, primary: Metric) -> Distances:
    """Return by how much a trial is better than the first per item, shape `(items,)`.

    Relative to the first trial's value for a linear metric, the difference for a metric of scale
    `log`; NaN where either trial was not evaluated.
    """
    found = [t.evaluation.items if t.evaluation is not None else ((), ()) for t in (first, trial)]
    count = min(len(values) for values, _ in found)
    base, own = (np.array(values[:count]) for values, _ in found)
    evaluated = np.all([np.array(weights[:count]) > 0 for _, weights in found], axis=0)
    apart = own - base
    if primary.scale == "linear":
        apart = apart / np.where(base == 0, 1.0, np.abs(base))
    sign = 1.0 if primary.direction == "maximize" else -1.0
    return np.where(evaluated, sign * apart, np.nan)


def _at(distances: Distances, item: int) -> float:
    found = float(distances[item]) if item < len(distances) else 0.0
    return 0.0 if math.isnan(found) else found


def _beyond(distances: Distances) -> list[int]:
    """Return the items whose distance exceeds `SAME_ITEM`, largest first."""
    items = np.flatnonzero(distances > SAME_ITEM)
    return [int(item) for item in items[np.argsort(-distances[items], kind="stable")]]


def _farthest(distances: Sequence[Distances]) -> list[int]:
    """Return up to `ITEMS` items whose quality differs most from the first trial's."""
    count = max(len(found) for found in distances)
    most = {item: max(abs(_at(found, item)) for found in distances) for item in range(count)}
    named = sorted((item for item in most if most[item] > SAME_ITEM), key=lambda item: -most[item])
    return named[:ITEMS]


def _status(trial: Trial) -> str:
    return f"{trial.status}: {trial.cause}" if trial.cause else trial.status


def _fact(value: object) -> str:
    if isinstance(value, float):
        return number_text(value)
    return show(value) if isinstance(value, str | bool | int) else json.dumps(value)


def difference_text(found: TrialDifference, first: Trial, primary: Metric) -> str:
    """Describe a difference: `007 torch: 3 of 12 outputs differ from 000; ...`."""
    parts: list[str] = []
    if found.outputs:
        parts.append(
            f"{found.differing} of {counted(found.outputs, 'output')} "
            f"{'differs' if found.differing == 1 else 'differ'} from {first.number:03}"
        )
    if found.items:
        worse, better = len(found.worse), len(found.better)
        direction = f" ({worse} worse, {better} better)" if worse + better else ""
        parts.append(
            f"{primary.name} differs by more than {percent_text(SAME_ITEM)} on {worse + better} of "
            f"{counted(found.items, 'item')}{direction}"
        )
    return f"{found.trial.name()}: {'; '.join(parts) or 'nothing to compare item by item'}"
