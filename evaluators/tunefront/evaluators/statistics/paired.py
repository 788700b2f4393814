"""Two candidates compared item by item, and the sequential test of a limit."""

from dataclasses import dataclass

import numpy as np

from tunefront.spaces.metric import Direction, Scale

from .arrays import Array


def paired_change(
    own: Array, base: Array, scale: Scale, tail: float = 0.025
) -> tuple[float, float, float]:
    """The relative change of a metric between two candidates judged on the same items.

    Args:
        own: Items and weights, shape `(2, items)`; of weight 0 is what was not judged.
        base: The same of what it is compared with; the weights are taken from here.
        scale: `linear` where the metric is the weighted mean of the items, `log` where it is its
            exponential.
        tail: What may lie beyond each end of the interval; 0.025 makes it one of 95 %.

    Returns:
        Change and the ends of its interval, as shares of the base's metric. Of hits and misses the
        interval is that of Agresti and Min for matched pairs (Statistics in Medicine 24, 2005),
        otherwise that of a ratio of sums (Cochran, Sampling Techniques, 6.3) of the differences,
        moved by their skewness (Johnson, JASA 73, 1978).
    """
    seen = own[1] > 0
    weights, difference = base[1][seen], (own[0] - base[0])[seen]
    quantile = _student(1 - tail, len(difference) - 1)
    if scale == "linear" and _hits_and_misses(own[0][seen], base[0][seen], weights):
        middle, error = _of_pairs(difference)
    else:
        middle, error, skew = _of_sums(difference, weights)
        middle += skew * (1 + 2 * quantile**2)
    mean = float((weights * difference).sum() / weights.sum())
    ends = (mean, middle - quantile * error, middle + quantile * error)
    if scale == "log":
        change, low, high = (float(np.expm1(end)) for end in ends)
        return change, min(low, change), max(high, change)
    level = abs(float((base[1] * base[0]).sum() / base[1].sum()))
    change, low, high = (end / max(level, 1e-12) for end in ends)
    return change, min(low, change), max(high, change)


def _hits_and_misses(own: Array, base: Array, weights: Array) -> bool:
    values = np.concatenate([own, base])
    return bool(np.isin(values, (0.0, 1.0)).all() and (weights == weights[0]).all())


def _of_pairs(difference: Array) -> tuple[float, float]:
    """The difference of matched proportions, half a pair added to either side; its error."""
    count = len(difference) + 2
    gained = float((difference > 0).sum()) + 0.5
    lost = float((difference < 0).sum()) + 0.5
    mean = (gained - lost) / count
    return mean, float(np.sqrt(gained + lost - count * mean**2)) / count


def _of_sums(difference: Array, weights: Array) -> tuple[float, float, float]:
    """The weighted mean of differences, shape `(items,)`, its error, and Johnson's skew term."""
    mean = float((weights * difference).sum() / weights.sum())
    count = len(difference)
    residuals = weights * (difference - mean) / weights.mean()
    variance = float((residuals**2).sum()) / max(count - 1, 1)
    third = float((residuals**3).mean())
    skew = third / (6 * variance * count) if variance > 0 else 0.0
    return mean, float(np.sqrt(variance / count)), skew


def _student(share: float, freedom: int) -> float:
    from scipy.special import stdtrit  # the whole of scipy.stats takes a second to import

    return float(stdtrit(max(freedom, 1), share))


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimit:
    """The most that quality may drop, and the baseline's items that it is judged against.

    Attributes:
        base: The baseline's items and weights, shape `(2, items)`.
        scale: The primary metric's.
        direction: What is better of it.
        bound: The largest drop, as a share of the baseline's metric.
        keeping_counts: Whether judging may also end because the limit is clearly kept.
        looks: How often it is looked at; their errors together stay below 5 % on either side
            (Bonferroni).
    """

    base: Array
    scale: Scale
    direction: Direction
    bound: float
    keeping_counts: bool
    looks: int

    def decided(self, items: Array, weights: Array) -> bool:
        """Whether the items so far decide it."""
        tail = 0.05 / self.looks
        own = np.stack([items, weights])
        _, low, high = paired_change(own, self.base, self.scale, tail)
        if self.direction == "maximize":
            low, high = -high, -low
        return low > self.bound or (self.keeping_counts and high < self.bound)
