"""What values that are not independent are worth: autocorrelated turns, repeated requests."""

import math
from collections.abc import Sequence

import numpy as np

from .arrays import Floats

FEWEST_VALUES = 6
"""Fewest values from which a correlation is estimated."""
LEAST_OF_PART = 3
"""Fewest turns of each part from which the variation within parts is estimated."""
LARGEST_CORRELATION = 0.9
"""Largest correlation that is assumed."""


def autocorrelation(values: Floats) -> float:
    """Return the correlation of consecutive values of `(n,)`, corrected for its bias.

    The estimate from n values is too low by about (1 + 4 r) / n (Marriott and Pope, Biometrika 41,
    1954). It is 0 for fewer than `FEWEST_VALUES` values, and at most `LARGEST_CORRELATION`.
    """
    count = len(values)
    centred = values - values.mean() if count else values
    total = float((centred**2).sum())
    if count < FEWEST_VALUES or total == 0:
        return 0.0
    found = float((centred[1:] * centred[:-1]).sum()) / total
    return min((found + 1 / count) / (1 - 4 / count), LARGEST_CORRELATION)


def widening(values: Floats) -> float:
    """Return how much wider the interval of a mean of autocorrelated values is; at least 1.

    n values of a first-order process with correlation r are worth n (1 - r) / (1 + r) independent
    ones (Zwiers and von Storch, Journal of Climate 8, 1995).
    """
    correlation = max(0.0, autocorrelation(values))
    return math.sqrt((1 + correlation) / (1 - correlation))


def within_parts(ratios: Floats, parts: Sequence[int]) -> Floats:
    """Return ratios without the variation between parts of the sample, which every run repeats.

    Args:
        ratios: Ratios of turns, shape `(n,)`.
        parts: The part of the sample that each turn was timed with.

    The mean of their logarithms is that of the parts' means. The deviations within the parts are
    enlarged for the degrees of freedom that the parts' means take, as in an analysis of variance.
    Ratios are returned unchanged if a part has fewer than `LEAST_OF_PART` of them.
    """
    labels = np.asarray(parts)
    places = [np.flatnonzero(labels == part) for part in np.unique(labels)]
    count, groups = len(ratios), len(places)
    if groups < 2 or min(map(len, places)) < LEAST_OF_PART:
        return ratios
    logs = np.log(ratios)
    means = np.array([logs[place].mean() for place in places])
    for place, mean in zip(places, means, strict=True):
        logs[place] -= mean
    return np.asarray(np.exp(means.mean() + logs * math.sqrt((count - 1) / (count - groups))))


def autocorrelation_time(values: Floats) -> float:
    """Return how many consecutive values of `(n,)` are worth one independent one; at least 1.

    The integrated autocorrelation time: one plus twice the sum of the correlations, which ends
    before sums of two consecutive ones are negative, and does not grow before (Geyer, Statistical
    Science 7, 1992, the initial monotone sequence).
    """
    count = len(values)
    centred = values - values.mean() if count else values
    if count < FEWEST_VALUES or not np.ptp(values) > 0:
        return 1.0
    spectrum = np.fft.rfft(centred, 2 * count)
    products = np.fft.irfft(np.abs(spectrum) ** 2)[:count]
    pairs = (products[0 : count // 2 * 2 : 2] + products[1 : count // 2 * 2 : 2]) / products[0]
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if len(negative) else pairs
    return max(1.0, 2 * float(np.minimum.accumulate(kept).sum()) - 1)


def effective_count(groups: Sequence[Floats]) -> int:
    """Return the number of independent values that repeated values of several things are worth.

    Args:
        groups: Values of each thing, such as the times of one request.

    The design effect is 1 + (m - 1) r with the mean group size m and the intraclass correlation r
    from the analysis of variance (Kish, Survey Sampling, 5.4). Values that do not depend on the
    thing all count; if nothing else varies, each thing counts once.
    """
    total, count = sum(map(len, groups)), len(groups)
    if count < 2 or total == count:
        return total
    between, within, typical = _mean_squares(groups)
    spread = between + (typical - 1) * within
    correlation = max(0.0, (between - within) / spread) if spread > 0 else 0.0
    return max(count, round(total / (1 + (total / count - 1) * correlation)))


def variance_between(groups: Sequence[Floats]) -> float:
    """Return the variance of the groups' means that the variance within groups does not explain.

    The estimate from the analysis of variance, at least 0. With one value a group, that of these.
    """
    total, count = sum(map(len, groups)), len(groups)
    if count < 2:
        return 0.0
    if total == count:
        return float(np.concatenate(groups).var(ddof=1))
    between, within, typical = _mean_squares(groups)
    return max(0.0, between - within) / typical


def _mean_squares(groups: Sequence[Floats]) -> tuple[float, float, float]:
    """Return the mean squares between and within groups, and the typical size of a group."""
    sizes = np.array([len(group) for group in groups])
    total, count = int(sizes.sum()), len(groups)
    means = np.array([group.mean() for group in groups])
    overall = float((sizes * means).sum()) / total
    between = float((sizes * (means - overall) ** 2).sum()) / (count - 1)
    squares = sum(
        float(((group - mean) ** 2).sum()) for group, mean in zip(groups, means, strict=True)
    )
    within = squares / (total - count)
    typical = (total - float((sizes**2).sum()) / total) / (count - 1)
    return between, within, typical
