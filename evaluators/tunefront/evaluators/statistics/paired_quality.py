"""Paired comparison of two candidates item by item, and the sequential test of a limit."""

from dataclasses import dataclass

import numpy as np

from tunefront.spaces.metric import Direction, Metric, Scale

from .arrays import Array
from .intervals import student_quantile
from .measurement import Measurement

SMALLEST_LEVEL = 1e-12
"""Smallest level that a change is divided by."""


def paired_change(
    own: Array, base: Array, scale: Scale, tail: float = 0.025
) -> tuple[float, float, float]:
    """Return the relative change of a metric between two candidates evaluated on the same items.

    Args:
        own: Values and weights of the items, shape `(2, items)`; weight 0 marks an item that was
            not evaluated.
        base: The same of the candidate that it is compared with; its weights are the ones used.
        scale: `linear` if the metric is the weighted mean of the items, `log` if it is the
            exponential of that mean.
        tail: Error probability beyond each end of the interval; 0.025 gives a 95 % interval.

    Returns:
        The change and the ends of its interval, as shares of the base's metric. For items that are
        0 or 1 with equal weights the interval is that of Agresti and Min for matched pairs
        (Statistics in Medicine 24, 2005), otherwise that of a ratio of sums (Cochran, Sampling
        Techniques, 6.3) of the differences, corrected for their skewness (Johnson, JASA 73, 1978).
    """
    change, low, high = paired_difference(own, base, scale, tail)
    if scale == "log":
        return float(np.expm1(change)), float(np.expm1(low)), float(np.expm1(high))
    level = max(abs(level_of(base)), SMALLEST_LEVEL)
    return change / level, low / level, high / level


def paired_difference(
    own: Array, base: Array, scale: Scale, tail: float = 0.025
) -> tuple[float, float, float]:
    """Return the difference of the weighted means of the same items, and the ends of its interval.

    The difference is in the unit of the items: of a metric with the scale `log` it is that of its
    logarithm. Arguments and interval are those of `paired_change`.
    """
    seen = own[1] > 0
    weights, difference = base[1][seen], (own[0] - base[0])[seen]
    quantile = student_quantile(len(difference) - 1, 1 - tail)
    if scale == "linear" and hits_and_misses(np.append(own[0][seen], base[0][seen]), weights):
        middle, error = _of_pairs(difference)
    else:
        middle, error, skew = _of_sums(difference, weights)
        middle += skew * (1 + 2 * quantile**2)
    mean = float((weights * difference).sum() / weights.sum())
    low, high = middle - quantile * error, middle + quantile * error
    return mean, min(low, mean), max(high, mean)


def moved(own: Array, base: Array, level: Measurement, metric: Metric) -> Measurement:
    """Return the metric of a candidate of which only a part of the items was evaluated.

    It is the baseline's metric over all items, moved by the paired change over the evaluated ones
    (the difference estimator of two-phase sampling; Cochran, Sampling Techniques, chapter 12). The
    metric of these items alone would also have the difference between these items and all others.

    Args:
        own: Values and weights of the candidate's items, shape `(2, items)`.
        base: The same of the baseline, of which all items were evaluated.
        level: The baseline's metric.
        metric: The metric: its scale, and the range that the result is cut to.

    Returns:
        The metric; its interval combines that of the change with the baseline's own.
    """
    change, low, high = paired_difference(own, base, metric.scale)
    logarithmic = metric.scale == "log"
    unit = level.value if logarithmic else 1.0
    below, above = (level.value - level.low) / unit, (level.high - level.value) / unit
    ends = (
        change,
        change - float(np.hypot(change - low, below)),
        change + float(np.hypot(high - change, above)),
    )
    values = [level.value * np.exp(end) if logarithmic else level.value + end for end in ends]
    value, lower, upper = (float(np.clip(end, *metric.range)) for end in values)
    evaluated = int((own[1] > 0).sum())
    return Measurement(value=value, unit=level.unit, low=lower, high=upper, samples=evaluated)


def level_of(items: Array) -> float:
    """Return the weighted mean of items, shape `(2, items)`."""
    return float((items[1] * items[0]).sum() / items[1].sum())


def is_near_zero(items: Array, scale: Scale) -> bool:
    """Return whether a level cannot be distinguished from 0, so that no share of it is meaningful.

    The level is the weighted mean of the items. If all of them have the same sign, it is near 0
    only if they are; otherwise if its 95 % interval includes 0.

    Args:
        items: Values and weights, shape `(2, items)`; weight 0 marks an item that was not
            evaluated.
        scale: Scale of the metric; with the scale `log` it is never near 0.
    """
    values, weights = items[:, items[1] > 0]
    if scale == "log" or not len(values):
        return False
    if abs(level_of(items)) < SMALLEST_LEVEL:
        return True
    if values.min() >= 0 or values.max() <= 0:
        return False
    mean, error, _ = _of_sums(values, weights)
    return abs(mean) <= student_quantile(len(values) - 1) * error


def hits_and_misses(values: Array, weights: Array) -> bool:
    """Return whether all values are 0 or 1 and all weights are equal."""
    return bool(np.isin(values, (0.0, 1.0)).all() and (weights == weights[0]).all())


def _of_pairs(difference: Array) -> tuple[float, float]:
    """Return the difference of matched proportions and its standard error.

    Half a pair is added to the gains and to the losses, and two to the number of pairs.
    """
    count = len(difference) + 2
    gained = float((difference > 0).sum()) + 0.5
    lost = float((difference < 0).sum()) + 0.5
    mean = (gained - lost) / count
    return mean, float(np.sqrt(gained + lost - count * mean**2)) / count


def _of_sums(difference: Array, weights: Array) -> tuple[float, float, float]:
    """Return the weighted mean of `(items,)` differences, its error, and Johnson's skew term."""
    mean = float((weights * difference).sum() / weights.sum())
    count = len(difference)
    residuals = weights * (difference - mean) / weights.mean()
    variance = float((residuals**2).sum()) / max(count - 1, 1)
    third = float((residuals**3).mean())
    skew = third / (6 * variance * count) if variance > 0 else 0.0
    return mean, float(np.sqrt(variance / count)), skew


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimit:
    """The largest allowed drop of quality, tested sequentially against the baseline's items.

    Attributes:
        base: Values and weights of the baseline's items, shape `(2, items)`.
        scale: Scale of the primary metric.
        direction: Direction of the primary metric.
        bound: The largest allowed drop, as a share of the baseline's metric.
        keeping_counts: Whether the evaluation also stops early when the limit is clearly met.
        interim_tests: Number of interim tests; together they err with at most 5 % probability on
            each side (Bonferroni).
    """

    base: Array
    scale: Scale
    direction: Direction
    bound: float
    keeping_counts: bool
    interim_tests: int

    def decided(self, items: Array, weights: Array) -> bool:
        """Return whether the items evaluated so far decide the limit.

        Args:
            items: Values of the items, shape `(items,)`.
            weights: Their weights, shape `(items,)`; 0 for items not yet evaluated.
        """
        tail = 0.05 / self.interim_tests
        own = np.stack([items, weights])
        _, low, high = paired_change(own, self.base, self.scale, tail)
        if self.direction == "maximize":
            low, high = -high, -low
        return low > self.bound or (self.keeping_counts and high < self.bound)
