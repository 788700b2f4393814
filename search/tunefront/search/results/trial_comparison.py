"""Trials side by side: choices, facts, figures, and what each answered to the same items.

Everything is compared with the trial that is named first. Nothing here prints or reads.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tunefront.evaluators import Measurement, Metric, Sample
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted
from tunefront.spaces import show

from .result import Answer, choices_of, figure

SAME_ITEM = 0.01
"""Of an item's quality, what is no difference; hits and misses differ by more."""
ITEMS = 12
"""Items that are compared by their quality where no answers are recorded."""
OWN_WAY = ("waited_s", "warmup_s", "judged", "items")
"""Facts of a measurement, not of what runs."""


Distances = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One thing that trials are compared by.

    Attributes:
        name: Of the choice, fact or figure.
        cells: What each trial has, in the order of the trials.
    """

    name: str
    cells: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether any trial has something else than the first."""
        return len(set(self.cells)) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """A metric of every trial.

    Attributes:
        metric: The metric.
        cells: What each trial measured; None where it did not.
    """

    metric: Metric
    cells: Sequence[Measurement | None]

    @property
    def differs(self) -> bool:
        """Whether any trial's figure, as it is shown, is another one than the first's."""
        return len({figure(cell) if cell is not None else "-" for cell in self.cells}) > 1

    def ratio(self, place: int) -> float | None:
        """A trial's figure over the first one's; None where that means nothing."""
        own, base = self.cells[place], self.cells[0]
        if own is None or base is None or not (own.value > 0 and base.value > 0):
            return None
        ratio = own.value / base.value
        return ratio if math.isfinite(ratio) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """One item, and what became of it in every trial.

    Attributes:
        item: Its place among the items that quality is judged on.
        samples: What each trial answered; None where nothing is recorded.
        quality: How good each trial was at it; None where it was not judged.
        distance: The largest difference of quality to the first trial's, as `_distances` has it.
    """

    item: int
    samples: Sequence[Sample | None]
    quality: Sequence[float | None]
    distance: float

    @property
    def asked(self) -> Sample | None:
        """The item in words, by any trial; None where no answers are recorded."""
        return next((sample for sample in self.samples if sample is not None), None)

    def other(self, place: int) -> bool:
        """Whether a trial answers something else than the first."""
        own, base = self.samples[place], self.samples[0]
        return own is not None and base is not None and own.output != base.output

    @property
    def others(self) -> int:
        """How many trials answer something else than the first."""
        return sum(self.other(place) for place in range(len(self.samples)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDifference:
    """How much a trial differs from the first, item by item.

    Attributes:
        trial: The trial.
        others: Samples that it answers otherwise.
        samples: Samples that both answered.
        better: Items at which it is better, those that differ most first.
        worse: Items at which it is worse, likewise.
        items: Items that both were judged on.
    """

    trial: Trial
    others: int
    samples: int
    better: Sequence[int]
    worse: Sequence[int]
    items: int


@dataclass(frozen=True, kw_only=True)
class TrialComparison:
    """Trials side by side.

    Attributes:
        answer: The search.
        trials: The trials, the one that the others are compared with first.
        samples: What trials answered, by their numbers.
    """

    answer: Answer
    trials: Sequence[Trial]
    samples: Mapping[int, Sequence[Sample]]

    @cached_property
    def primary(self) -> Metric:
        """The metric that items are judged by."""
        return self.answer.experiment.primary

    @cached_property
    def choices(self) -> list[TrialRow]:
        """Every choice that any of them has."""
        names = list(dict.fromkeys(name for trial in self.trials for name in trial.configuration))
        return [TrialRow(name=n, cells=[choices_of(t, [n])[n] for t in self.trials]) for n in names]

    @cached_property
    def facts(self) -> list[TrialRow]:
        """How each ended and how far it can be trusted; what it really was, beyond its choices."""
        told = [
            TrialRow(name="status", cells=[_status(trial) for trial in self.trials]),
            TrialRow(name="trust", cells=[self.answer.trust(trial) for trial in self.trials]),
        ]
        found = [t.evaluation.facts if t.evaluation is not None else {} for t in self.trials]
        known = {*OWN_WAY, *(row.name for row in self.choices), *self.answer.experiment.metrics}
        names = [n for n in dict.fromkeys(name for facts in found for name in facts)]
        return told + [
            TrialRow(name=n, cells=[_fact(facts[n]) if n in facts else "-" for facts in found])
            for n in names
            if n not in known
        ]

    @cached_property
    def figures(self) -> list[FigureRow]:
        """Every metric that any of them was measured by."""
        return [
            FigureRow(metric=metric, cells=[t.measurements.get(name) for t in self.trials])
            for name, metric in self.answer.experiment.metrics.items()
            if any(name in trial.measurements for trial in self.trials)
        ]

    @cached_property
    def items(self) -> list[ItemRow]:
        """The items that answers are recorded of; of none, those whose quality differs most.

        Those that differ most from the first trial come first.
        """
        known = [{s.item: s for s in self.samples.get(t.number, ())} for t in self.trials]
        places = sorted({item for samples in known for item in samples})
        distances = [_distances(self.trials[0], t, self.primary) for t in self.trials]
        if not places:
            places = _farthest(distances)
        rows = [
            ItemRow(
                item=place,
                samples=[samples.get(place) for samples in known],
                quality=[item_quality(trial, place, self.primary) for trial in self.trials],
                distance=max((abs(_at(d, place)) for d in distances), default=0.0),
            )
            for place in places
        ]
        return sorted(rows, key=lambda row: (-row.others, -row.distance, row.item))

    @cached_property
    def differences(self) -> list[TrialDifference]:
        """Of every other trial, how much it differs from the first."""
        first, *others = self.trials
        return [self._difference(first, place, trial) for place, trial in enumerate(others, 1)]

    def _difference(self, first: Trial, place: int, trial: Trial) -> TrialDifference:
        distances = _distances(first, trial, self.primary)
        both = [row for row in self.items if row.samples[0] and row.samples[place]]
        return TrialDifference(
            trial=trial,
            others=sum(row.other(place) for row in both),
            samples=len(both),
            better=_beyond(distances),
            worse=_beyond(-distances),
            items=int(np.isfinite(distances).sum()),
        )


def item_quality(trial: Trial, item: int, primary: Metric) -> float | None:
    """How good a trial is at one item, on the metric's scale; None where it was not judged."""
    values, weights = trial.evaluation.items if trial.evaluation is not None else ((), ())
    if item >= len(values) or not weights[item] > 0:
        return None
    value = math.exp(min(values[item], 700.0)) if primary.scale == "log" else values[item]
    return float(f"{value:.4g}")


def _distances(first: Trial, trial: Trial, primary: Metric) -> Distances:
    """How much better a trial is than the first, item by item, shape `(items,)`.

    As a share of the first one's, on a logarithm's scale the difference; NaN where either was not
    judged.
    """
    found = [t.evaluation.items if t.evaluation is not None else ((), ()) for t in (first, trial)]
    count = min(len(values) for values, _ in found)
    base, own = (np.array(values[:count]) for values, _ in found)
    judged = np.all([np.array(weights[:count]) > 0 for _, weights in found], axis=0)
    apart = own - base
    if primary.scale == "linear":
        apart = apart / np.where(base == 0, 1.0, np.abs(base))
    sign = 1.0 if primary.direction == "maximize" else -1.0
    return np.where(judged, sign * apart, np.nan)


def _at(distances: Distances, item: int) -> float:
    found = float(distances[item]) if item < len(distances) else 0.0
    return 0.0 if math.isnan(found) else found


def _beyond(distances: Distances) -> list[int]:
    """The items at which a trial is more than a little better, those of most first."""
    items = np.flatnonzero(distances > SAME_ITEM)
    return [int(item) for item in items[np.argsort(-distances[items], kind="stable")]]


def _farthest(distances: Sequence[Distances]) -> list[int]:
    """The items at which quality differs most from the first trial's."""
    count = max(len(found) for found in distances)
    most = {item: max(abs(_at(found, item)) for found in distances) for item in range(count)}
    named = sorted((item for item in most if most[item] > SAME_ITEM), key=lambda item: -most[item])
    return named[:ITEMS]


def _status(trial: Trial) -> str:
    return f"{trial.status}: {trial.cause}" if trial.cause else trial.status


def _fact(value: object) -> str:
    if isinstance(value, str | bool | int | float):
        return show(round(value, 6) if isinstance(value, float) else value)
    return json.dumps(value)


def difference_words(found: TrialDifference, first: Trial, primary: Metric) -> str:
    """`007 torch: answers 3 of 12 samples otherwise than 000; accuracy differs ...`."""
    told: list[str] = []
    if found.samples:
        told.append(
            f"answers {found.others} of {counted(found.samples, 'sample')} otherwise than "
            f"{first.number:03}"
        )
    if found.items:
        worse, better = len(found.worse), len(found.better)
        parts = f" ({worse} worse, {better} better)" if worse + better else ""
        told.append(
            f"{primary.name} differs by more than {SAME_ITEM:.0%} on {worse + better} of "
            f"{counted(found.items, 'item')}{parts}"
        )
    return f"{found.trial.name()}: {'; '.join(told) or 'nothing to compare item by item'}"
