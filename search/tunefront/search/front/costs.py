"""Measurements of trials as arrays of costs (lower is better) with intervals."""

from collections.abc import Sequence

import numpy as np

from tunefront.evaluators import Measurement, Metric
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.trial import Trial

from .chances import HALF_INTERVAL, Bounds, Values
from .intervals import Intervals, above, below

SPEED, QUALITY = "speed", "quality"
"""Names of the errors that several metrics have in common."""
LARGEST_LOG = 50.0
"""Largest logarithm of a factor; an open end of an interval is drawn as this."""


def values_of(
    intervals: Intervals, trials: Sequence[Trial], objectives: Sequence[Objective]
) -> Values:
    """Return the objectives with intervals for comparisons between trials.

    The primary quality metric is represented by the quality drop, whose interval is paired item by
    item.
    """
    rows = [[_compared(intervals, trial, o) for o in objectives] for trial in trials]
    metrics = [intervals.metrics[o.metric] for o in objectives]
    return _values(rows, [error_of(intervals, metric) for metric in metrics])


def error_of(intervals: Intervals, metric: Metric) -> str:
    """Return the name of a metric's error: that of all metrics which follow from one value."""
    if metric.follows != "none":
        return _speed(intervals.rate(metric))
    return QUALITY if metric.name in (intervals.primary.name, QUALITY_DROP.name) else metric.name


def _speed(rate: Metric | None) -> str:
    """Return the name of the error of a speed-up, which differs between load levels."""
    return SPEED if rate is None else f"{SPEED}{rate.level}"


def compared(intervals: Intervals, trial: Trial, metric: Metric) -> tuple[float, float, float]:
    """Return a metric as a cost with its ends, for comparisons between trials."""
    return _compared(intervals, trial, Objective(metric=metric.name, direction=metric.direction))


def _compared(
    intervals: Intervals, trial: Trial, objective: Objective
) -> tuple[float, float, float]:
    loss = intervals.loss(trial, objective.metric)
    if loss is not None:  # a loss whatever the direction of the quality metric
        return _cost(loss, 1.0)
    return _cost(intervals.between(trial, objective.metric), objective.sign)


def _cost(found: Measurement, sign: float) -> tuple[float, float, float]:
    value, one, other = sign * found.value, sign * found.low, sign * found.high
    return value, min(one, other, value), max(one, other, value)


def _values(rows: Sequence[Sequence[tuple[float, float, float]]], errors: Sequence[str]) -> Values:
    found = np.array(rows, dtype=np.float64).reshape(len(rows), len(errors), 3)
    return Values(middle=found[..., 0], low=found[..., 1], high=found[..., 2], errors=errors)


def bounds_of(intervals: Intervals, trials: Sequence[Trial], limits: Sequence[Limit]) -> Bounds:
    """Return the limited values; the errors of trial 0's speed and quality are shared factors.

    Args:
        intervals: Intervals of the search's measurements.
        trials: Trials that have all limited metrics.
        limits: The limits.
    """
    metrics = [intervals.metrics[limit.metric] for limit in limits]
    errors = [error_of(intervals, metric) for metric in metrics]
    cells = [[_bounded(intervals, trial, limit) for limit in limits] for trial in trials]
    affected = [[shared for _, shared in row] for row in cells]
    timed = [m.follows != "none" or m.kind == "speed" for m in metrics]
    return Bounds(
        values=_values([[cost for cost, _ in row] for row in cells], errors),
        bounds=np.array([limit.sign * limit.bound for limit in limits], dtype=np.float64),
        shared=[
            _speed(intervals.rate(metric)) if one else error
            for one, error, metric in zip(timed, errors, metrics, strict=True)
        ],
        affected=np.array(affected, dtype=np.bool_).reshape(len(trials), len(limits)),
        factors=_factors(intervals),
    )


def _bounded(
    intervals: Intervals, trial: Trial, limit: Limit
) -> tuple[tuple[float, float, float], bool]:
    """Return a limited value as a cost with its own ends, and whether a shared factor applies."""
    loss, level = intervals.loss(trial, limit.metric), _quality_level(intervals)
    if loss is None or level is None or trial.value(limit.metric) <= 0:
        shared = intervals.shared(trial, limit.metric)
        return _cost(intervals.own(trial, limit.metric), limit.sign), shared
    value, percent = limit.sign * trial.value(limit.metric), level.value / 100
    return (
        value,
        value + min(loss.low - loss.value, 0.0) * percent,
        value + max(loss.high - loss.value, 0.0) * percent,
    ), True


def _quality_level(intervals: Intervals) -> Measurement | None:
    """Return trial 0's quality; None if it is not positive, or not measured."""
    if intervals.base is None:
        return None
    found = intervals.base.measurements.get(intervals.primary.name)
    return found if found is not None and found.value > 0 else None


def _factors(intervals: Intervals) -> dict[str, tuple[float, float]]:
    """Return the standard deviations of the shared factors, towards better and worse values."""
    quality = _quality_level(intervals)
    found: dict[str, tuple[float, float]] = {}
    for rate in intervals.rates:
        speed = intervals.level(rate)
        if speed is not None and speed.value > 0:
            found[_speed(rate)] = _deviations(speed, rate)
    if quality is not None:
        found[QUALITY] = _deviations(quality, intervals.primary)
    return found


def _deviations(level: Measurement, metric: Metric) -> tuple[float, float]:
    lower, higher = (min(end, LARGEST_LOG) / HALF_INTERVAL for end in (below(level), above(level)))
    return (higher, lower) if metric.direction == "maximize" else (lower, higher)
