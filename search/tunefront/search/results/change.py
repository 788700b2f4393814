"""Change of a measurement from one search to another, with its interval: pure functions.

The interval of a quotient is computed from the intervals of both measurements on the log scale
(method of variance estimates recovery, MOVER; Donner and Zou, Statistics in Medicine 31, 2012). If
a value is not positive, the difference is used instead of the quotient.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tunefront.evaluators import Direction, Measurement, Metric, paired_change
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.front.intervals import above, below, in_turns, seen
from tunefront.search.front.pareto import SMALLEST_DIFFERENCE
from tunefront.search.front.picks import SAME_QUALITY
from tunefront.search.study.trial import Trial

ChangeVerdict = Literal["better", "worse", "tied"]
TIED: ChangeVerdict = "tied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The change between two measurements of one metric.

    Attributes:
        before: The earlier measurement.
        after: The later measurement.
        change: `after / before - 1`; `after - before` if `relative` is False.
        low: Lower end of the 95 % interval of the change.
        high: Upper end of the 95 % interval of the change.
        relative: Whether the change is relative.
        verdict: Better, worse, or indistinguishable.
    """

    before: Measurement
    after: Measurement
    change: float
    low: float
    high: float
    relative: bool
    verdict: ChangeVerdict


def quotient(after: Measurement, before: Measurement) -> tuple[float, float, float]:
    """Return `after / before` and the ends of its 95 % interval; both values must be positive."""
    value = after.value / before.value
    down = math.hypot(below(after), above(before))
    up = math.hypot(above(after), below(before))
    return value, value * math.exp(-down), value * math.exp(up)


def difference(after: Measurement, before: Measurement) -> tuple[float, float, float]:
    """Return `after - before` and the ends of its 95 % interval."""
    value = after.value - before.value
    down = math.hypot(after.value - after.low, before.high - before.value)
    up = math.hypot(after.high - after.value, before.value - before.low)
    return value, value - down, value + up


def change_of(
    before: Measurement, after: Measurement, direction: Direction, least: float = 0.0
) -> Change:
    """Compute the change between two measurements: relative if both values are positive.

    Args:
        before: The earlier measurement.
        after: The later measurement.
        direction: The direction of the metric.
        least: Smaller changes are indistinguishable, even if the interval excludes zero.
    """
    relative = before.value > 0 and after.value > 0
    if relative:
        change, low, high = (end - 1 for end in quotient(after, before))
    else:
        change, low, high = difference(after, before)
    return _verdict(before, after, (change, low, high), relative, direction, least)


def paired(
    before: Trial, after: Trial, metric: Metric, same_items: bool, least: float
) -> Change | None:
    """Compute the paired change of the primary quality metric; None if items can't be paired.

    Args:
        before: The earlier trial.
        after: The later trial.
        metric: The primary quality metric, which is aggregated from the items.
        same_items: Whether both were evaluated on the same model and data.
        least: Smaller changes are indistinguishable.
    """
    if not same_items or before.evaluation is None or after.evaluation is None:
        return None
    own, base = np.array(after.evaluation.items), np.array(before.evaluation.items)
    if own.shape != base.shape or own.shape[1] < 2 or not ((own[1] > 0) & (base[1] > 0)).all():
        return None
    ends = paired_change(own, base, metric.scale)
    pair = before.measurements[metric.name], after.measurements[metric.name]
    return _verdict(*pair, ends, True, metric.direction, least)


def against(own: Trial, base: Trial, metric: Metric, primary: Metric) -> Measurement | None:
    """Return a measurement as a multiple of the baseline's; None if either is not positive.

    `quality_drop` is returned unchanged, because it is relative to the baseline already. Metrics
    measured in the same turns or on the same items get the paired interval, which leaves out the
    spread of the baseline's own value.
    """
    measurement, level = seen(own, metric), seen(base, metric)
    if metric.name == QUALITY_DROP.name:
        return measurement  # already relative to the baseline
    if measurement.value <= 0 or level.value <= 0:
        return None
    if own.number == base.number:
        return replace(measurement, value=1.0, unit="x", low=1.0, high=1.0)
    if metric.name == primary.name and QUALITY_DROP.name in own.measurements:
        return _from_loss(own.measurements[QUALITY_DROP.name], primary.direction)
    if in_turns(own, metric):
        ends = tuple(
            end / level.value for end in (measurement.value, measurement.low, measurement.high)
        )
    else:
        ends = quotient(measurement, level)
    return replace(measurement, value=ends[0], unit="x", low=ends[1], high=ends[2])


def least_of(metric: Metric) -> float:
    """Return the smallest relative change that counts; for `quality_drop` in percentage points."""
    if metric.name == QUALITY_DROP.name:
        return 100 * SAME_QUALITY
    return SAME_QUALITY if metric.kind == "quality" else SMALLEST_DIFFERENCE


def _verdict(
    before: Measurement,
    after: Measurement,
    ends: tuple[float, float, float],
    relative: bool,
    direction: Direction,
    least: float,
) -> Change:
    change, low, high = ends
    verdict: ChangeVerdict = TIED
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


def _from_loss(loss: Measurement, direction: Direction) -> Measurement | None:
    """Return quality / baseline quality from the loss in %; None if the interval reaches zero."""
    sign = 0.01 if direction == "minimize" else -0.01
    ends = sorted(1 + sign * end for end in (loss.low, loss.high))
    if ends[0] <= 0:
        return None
    value = 1 + sign * loss.value
    return Measurement(value=value, unit="x", low=ends[0], high=ends[1], samples=loss.samples)
