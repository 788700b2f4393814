"""Confidence intervals of medians, quantiles, trimmed means and ratios: pure functions."""

import math
from collections.abc import Sequence

import numpy as np

from .arrays import Floats

CONFIDENCE = 0.95
RESAMPLES = 2000
LEAST_ERROR = 1e-4
"""Lower bound of the relative standard error of a round's mean: no clock resolves 0.01 %."""
TRIM = 0.2
"""Share of the values at each end that a trimmed mean leaves out."""


def median_interval(values: Floats) -> tuple[float, float, float]:
    """Return the median of `(n,)` values and its 95 % interval from order statistics.

    The ranks are binomial with probability one half (Hollander & Wolfe, Nonparametric Statistical
    Methods, 3.6). With fewer than six values the interval is the range and covers less than 95 %.
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    ordered = np.sort(values)
    count = len(ordered)
    below = np.asarray(bdtr(np.arange((count + 1) // 2, dtype=np.float64), count, 0.5))
    rank = max(0, int((below <= (1 - CONFIDENCE) / 2).sum()) - 1)
    return float(np.median(ordered)), float(ordered[rank]), float(ordered[count - 1 - rank])


def quantile_interval(
    values: Floats, share: float, effective: int | None = None
) -> tuple[float, float, float]:
    """Return the quantile at `share` of `(n,)` values and its 95 % interval.

    Args:
        values: The values.
        share: Share of the values below the quantile.
        effective: Number of independent values that they are worth; all of them if None.

    The ends are order statistics, at exact binomial ranks (Hahn and Meeker, Statistical Intervals,
    5.2). With too few values no order statistic is above the quantile with enough probability: the
    upper end is infinite then; see `values_needed`.
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    ordered = np.sort(values)
    count = min(effective or len(ordered), len(ordered))
    below = np.asarray(bdtr(np.arange(count, dtype=np.float64), count, share))
    tail = (1 - CONFIDENCE) / 2
    low, high = int((below <= tail).sum()), int((below < 1 - tail).sum()) + 1
    middle = float(np.quantile(ordered, share))

    def at(rank: int) -> float:
        return float(ordered[min(math.ceil(rank / count * len(ordered)), len(ordered)) - 1])

    upper = at(high) if high <= count else math.inf
    return middle, min(at(max(low, 1)), middle), max(upper, middle)


def values_needed(share: float) -> int:
    """Return how many independent values the upper end of a quantile's interval takes: 368 at 99 %.

    The largest of n values is above the quantile with probability 1 - share^n.
    """
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(share))


def share_interval(share: float, count: int) -> tuple[float, float, float]:
    """Return a share of `count` independent things and its 95 % interval (Clopper and Pearson).

    The ends are quantiles of beta distributions (Biometrika 26, 1934); the interval covers at
    least 95 %. Shares that are no multiple of 1 / count are interpolated.
    """
    from scipy.special import betaincinv  # scipy.stats takes a second to import

    tail, hits = (1 - CONFIDENCE) / 2, share * count
    low = 0.0 if hits <= 0 else float(betaincinv(hits, count - hits + 1, tail))
    high = 1.0 if hits >= count else float(betaincinv(hits + 1, count - hits, 1 - tail))
    return share, min(low, share), max(high, share)


def mean_interval(values: Floats) -> tuple[float, float, float]:
    """Return the mean of `(n,)` positive values and its 95 % interval, Student's on the log scale.

    A single value is its own interval. The standard error is that of the mean, relative to it.
    """
    count, mean = len(values), float(values.mean())
    if count < 2 or mean <= 0:
        return mean, mean, mean
    error = float(values.std(ddof=1)) / math.sqrt(count) / mean
    half = student_quantile(count - 1) * error
    return mean, mean * math.exp(-half), mean * math.exp(half)


def widened(
    interval: tuple[float, float, float], other: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return a value whose interval also covers the relative error of another, independent one.

    Args:
        interval: A positive value and the ends of its interval.
        other: The same of the other one.

    Half-widths on the log scale are added in quadrature.
    """
    value, low, high = interval
    below = math.hypot(math.log(value / low), math.log(other[0] / other[1]))
    above = math.hypot(math.log(high / value), math.log(other[2] / other[0]))
    return value, value * math.exp(-below), value * math.exp(above)


def trimmed_interval(values: Floats) -> tuple[float, float, float]:
    """Return the 20 % trimmed mean of `(n,)` values and its 95 % interval.

    Tukey and McLaughlin's interval: the standard error comes from the winsorized variance, the
    quantile from Student's t, with degrees of freedom one below the number of values that are left
    (Wilcox, Introduction to Robust Estimation, 4.3). A single value is its own interval.
    """
    middle, error = _mean_and_error(values)
    kept = len(values) - 2 * int(TRIM * len(values))
    if kept < 2:
        return middle, middle, middle
    half = student_quantile(kept - 1) * error
    return middle, middle - half, middle + half


def ratio_interval(rounds: Sequence[Floats], seed: int = 0) -> tuple[float, float, float]:
    """Return a ratio that was measured in every turn of several rounds, and its 95 % interval.

    Args:
        rounds: Ratios of the turns, shape `(turns,)` for each round; a round is a set of fresh
            processes.
        seed: Seed of the bootstrap.

    The estimate is exp of the mean over rounds of the trimmed mean of the logarithms of the turns.
    Its interval is a bootstrap over the turns within each round, widened by Student's quantile for
    the number of turns. Fresh processes of one candidate differ, which more turns do not reduce. If
    the rounds differ by more than their turns explain (Birge ratio above 1), the interval is
    extended to Student's interval of the rounds' means with one degree of freedom less than there
    are rounds (Hartung and Knapp, Statistics in Medicine 20, 2001).
    """
    logs = [np.log(np.asarray(ratios, dtype=np.float64)) for ratios in rounds]
    means = np.array([_trimmed_mean(values[None])[0] for values in logs])
    middle = float(means.mean())
    if sum(map(len, logs)) < 2:
        only = math.exp(middle)
        return only, only, only
    low, high = _bootstrap_ends(logs, middle, np.random.default_rng(seed))
    if _rounds_differ(logs, means):
        half = student_quantile(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))
        low, high = min(low, middle - half), max(high, middle + half)
    return math.exp(middle), math.exp(low), math.exp(high)


def _bootstrap_ends(
    rounds: Sequence[Floats], middle: float, random: np.random.Generator
) -> tuple[float, float]:
    """Return the ends of the interval of the mean of the rounds that their turns explain."""
    drawn = [values[random.integers(0, len(values), (RESAMPLES, len(values)))] for values in rounds]
    means = np.mean([_trimmed_mean(rows) for rows in drawn], axis=0)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    kept = sum(len(values) - 2 * int(TRIM * len(values)) for values in rounds)
    wider = student_quantile(kept - len(rounds)) / 1.96
    return middle - (middle - low) * wider, middle + (high - middle) * wider


def _rounds_differ(rounds: Sequence[Floats], means: Floats) -> bool:
    """Return whether the rounds differ, or whether that cannot be decided.

    They differ if the Birge ratio is above 1: the scatter of their means relative to the standard
    errors of their turns (Birge 1932; the scale factor of the Particle Data Group's Review, 5.2).
    The Birge ratio of two rounds is below 1 by chance too often, and two turns have no usable
    standard error; then the rounds are taken to differ.
    """
    count = len(rounds)
    if count == 1:
        return False
    if count == 2 or min(map(len, rounds)) <= 2:
        return True
    errors = np.array([_mean_and_error(values)[1] for values in rounds])
    scatter = (means - means.mean()) / np.maximum(errors, LEAST_ERROR)
    return float((scatter**2).sum()) > count - 1


def student_quantile(freedom: int, share: float = (1 + CONFIDENCE) / 2) -> float:
    """Return the quantile of Student's t, by default at the upper end of a 95 % interval.

    Args:
        freedom: Degrees of freedom; fewer than one count as one.
        share: Probability below the quantile.
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(max(freedom, 1), share))


def _mean_and_error(values: Floats) -> tuple[float, float]:
    """Return the trimmed mean of `(n,)` values and its standard error; 0 for a single value."""
    count = len(values)
    cut = int(TRIM * count)
    ordered = np.sort(values)
    winsorized = np.clip(ordered, ordered[cut], ordered[count - 1 - cut])
    spread = float(winsorized.std(ddof=1)) if count > 1 else 0.0
    error = spread * math.sqrt(count) / (count - 2 * cut)
    return float(ordered[cut : count - cut].mean()), error


def _trimmed_mean(rows: Floats) -> Floats:
    """Return the 20 % trimmed mean of each row of `(rows, n)`."""
    cut = int(TRIM * rows.shape[1])
    means: Floats = np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut].mean(axis=1)
    return means
