"""What became of a figure from one search to another, with its interval: pure functions.

Intervals of quotients come from those of both figures, on the logarithms (the method of variance
estimates recovery; Donner and Zou, Statistics in Medicine 31, 2012). Where a figure isn't positive,
differences stand in for quotients.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tunefront.evaluators import Direction, Measurement, Metric, paired_change
from tunefront.search.front.pareto import SMALLEST_DIFFERENCE
from tunefront.search.front.picks import SAME_QUALITY
from tunefront.search.study.trial import Trial

ChangeVerdict = Literal["better", "worse", "can't be told apart"]
INDISTINGUISHABLE: ChangeVerdict = "can't be told apart"
IN_TURNS = (
    "throughput",
    "tokens_per_second",
    "latency_ms",
    "cost_per_million_items",
    "cost_per_million_tokens",
)
"""Figures that are ratios to the baseline's in the same turns, times the baseline's."""
LOSS = "quality_drop"
LOOKED_AT_ONCE = ("peak_memory_mb", "model_memory_mb", "gpu_allocated_mb", "gpu_device_mb")
"""Figures that a trial looks at a single time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure before and after.

    Attributes:
        before: The earlier one.
        after: The later one.
        change: `after / before - 1`; the difference where `relative` is False.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        relative: Whether the change is a share.
        verdict: Better, worse, or within the intervals.
    """

    before: Measurement
    after: Measurement
    change: float
    low: float
    high: float
    relative: bool
    verdict: ChangeVerdict

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "change": self.change,
            "low": self.low,
            "high": self.high,
            "relative": self.relative,
            "verdict": self.verdict,
        }


def quotient(after: Measurement, before: Measurement) -> tuple[float, float, float]:
    """`after / before` and the ends of its 95 % interval; both must be positive."""
    value = after.value / before.value
    down = math.hypot(_below(after), _above(before))
    up = math.hypot(_above(after), _below(before))
    return value, value * math.exp(-down), value * math.exp(up)


def difference(after: Measurement, before: Measurement) -> tuple[float, float, float]:
    """`after - before` and the ends of its 95 % interval."""
    value = after.value - before.value
    down = math.hypot(after.value - after.low, before.high - before.value)
    up = math.hypot(after.high - after.value, before.value - before.low)
    return value, value - down, value + up


def change_of(
    before: Measurement, after: Measurement, direction: Direction, least: float = 0.0
) -> Change:
    """What became of a figure.

    Args:
        before: The earlier one.
        after: The later one.
        direction: What is better.
        least: Changes below this are none, whatever the intervals say.
    """
    relative = before.value > 0 and after.value > 0
    if relative:
        change, low, high = (end - 1 for end in quotient(after, before))
    else:
        change, low, high = difference(after, before)
    return _judged(before, after, (change, low, high), relative, direction, least)


def paired(
    before: Trial, after: Trial, metric: Metric, same_items: bool, least: float
) -> Change | None:
    """The change of the primary quality metric on the same items; None where they can't be paired.

    Args:
        before: The earlier trial.
        after: The later one.
        metric: The metric that the items are parts of.
        same_items: Whether both were judged on the same data.
        least: Changes below this are none.
    """
    if not same_items or before.evaluation is None or after.evaluation is None:
        return None
    own, base = np.array(after.evaluation.items), np.array(before.evaluation.items)
    if own.shape != base.shape or own.shape[1] < 2 or not ((own[1] > 0) & (base[1] > 0)).all():
        return None
    ends = paired_change(own, base, metric.scale)
    figures = before.measurements[metric.name], after.measurements[metric.name]
    return _judged(*figures, ends, True, metric.direction, least)


def against(own: Trial, base: Trial, metric: Metric, primary: Metric) -> Measurement | None:
    """A figure as a multiple of the baseline's in the same search; None where that says nothing.

    What was seen in the same turns, or on the same items, has the interval of just that.
    """
    figure, level = seen(own, metric), seen(base, metric)
    if metric.name == LOSS:
        return figure  # is relative to the baseline by itself
    if figure.value <= 0 or level.value <= 0:
        return None
    if own.number == base.number:
        return replace(figure, value=1.0, unit="x", low=1.0, high=1.0)
    if metric.name == primary.name and LOSS in own.measurements:
        return _from_loss(own.measurements[LOSS], primary.direction)
    if _in_turns(own, metric):
        ends = tuple(end / level.value for end in (figure.value, figure.low, figure.high))
    else:
        ends = quotient(figure, level)
    return replace(figure, value=ends[0], unit="x", low=ends[1], high=ends[2])


def seen(trial: Trial, metric: Metric) -> Measurement:
    """A figure; one look at a process's memory has no spread: what differs for no reason stands in.

    Processes of one candidate take a little more or less memory each time.
    """
    figure = trial.measurements[metric.name]
    if metric.name not in LOOKED_AT_ONCE or figure.samples > 1:
        return figure
    half = SMALLEST_DIFFERENCE * figure.value
    return replace(figure, low=figure.value - half, high=figure.value + half)


def absolute(own: Trial, base: Trial | None, metric: Metric) -> Measurement:
    """A figure with all of its spread: a ratio to the baseline knows nothing of the level."""
    figure = seen(own, metric)
    if base is None or own.number == base.number or not _in_turns(own, metric):
        return figure
    level = base.measurements[metric.name]
    down = math.hypot(_below(figure), _below(level))
    up = math.hypot(_above(figure), _above(level))
    low, high = figure.value * math.exp(-down), figure.value * math.exp(up)
    return replace(figure, low=low, high=high)


def least_of(metric: Metric, *, quality: bool) -> float:
    """Changes of a metric that are none; of a loss in percent points."""
    if metric.name == LOSS:
        return 100 * SAME_QUALITY
    return SAME_QUALITY if quality else SMALLEST_DIFFERENCE


def _judged(
    before: Measurement,
    after: Measurement,
    ends: tuple[float, float, float],
    relative: bool,
    direction: Direction,
    least: float,
) -> Change:
    change, low, high = ends
    verdict: ChangeVerdict = INDISTINGUISHABLE
    if (low > 0 or high < 0) and abs(change) >= least:
        verdict = "better" if (change > 0) == (direction == "maximize") else "worse"
    return Change(
        before=before,
        after=after,
        change=change,
        low=low,
        high=high,
        relative=relative,
        verdict=verdict,
    )


def _in_turns(own: Trial, metric: Metric) -> bool:
    beside = own.evaluation is not None and own.evaluation.relative is not None
    return beside and metric.name in IN_TURNS and own.value(metric.name) > 0


def _from_loss(loss: Measurement, direction: Direction) -> Measurement | None:
    """The quality as a multiple of the baseline's; it has lost so many percent of that."""
    sign = 0.01 if direction == "minimize" else -0.01
    ends = sorted(1 + sign * end for end in (loss.low, loss.high))
    if ends[0] <= 0:
        return None
    value = 1 + sign * loss.value
    return Measurement(value=value, unit="x", low=ends[0], high=ends[1], samples=loss.samples)


def _below(figure: Measurement) -> float:
    """How far the interval reaches down, on the logarithm; of one that reaches zero, as a share."""
    if figure.low <= 0:
        return (figure.value - figure.low) / figure.value
    return max(0.0, math.log(figure.value / figure.low))


def _above(figure: Measurement) -> float:
    return max(0.0, math.log(figure.high / figure.value))
