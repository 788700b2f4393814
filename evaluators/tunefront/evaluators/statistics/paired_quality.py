"""Paired comparison of two candidates item by item, and the sequential test of a limit."""

from dataclasses import dataclass

import numpy as np

from tunefront.spaces.metric import Direction, Scale

from .arrays import Array


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


def _student(share: float, freedom: int) -> float:
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(max(freedom, 1), share))


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
