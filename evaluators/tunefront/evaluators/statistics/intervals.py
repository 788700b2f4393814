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
    ordered = np.sort(values)
    count = len(ordered)
    rank, tail = 0, 0.5**count
    while rank + 1 < (count + 1) // 2:
        step = math.comb(count, rank + 1) * 0.5**count
        if tail + step > (1 - CONFIDENCE) / 2:
            break
        tail, rank = tail + step, rank + 1
    return float(np.median(ordered)), float(ordered[rank]), float(ordered[count - 1 - rank])


def quantile_interval(values: Floats, share: float) -> tuple[float, float, float]:
    """Return the quantile at `share` of `(n,)` values and its 95 % interval.

    The interval uses the normal approximation of the binomial rank.
    """
    ordered = np.sort(values)
    count = len(ordered)
    spread = 1.96 * math.sqrt(count * share * (1 - share))
    low, high = (int(np.clip(count * share + s * spread, 0, count - 1)) for s in (-1, 1))
    middle = float(np.quantile(ordered, share))
    return middle, min(float(ordered[low]), middle), max(float(ordered[high]), middle)


def trimmed_interval(values: Floats) -> tuple[float, float, float]:
    """Return the 20 % trimmed mean of `(n,)` values and its 95 % interval.

    Tukey and McLaughlin's interval: the standard error comes from the winsorized variance, the
    quantile from Student's t, with degrees of freedom one below the number of values that are left
    (Wilcox, Introduction to Robust Estimation, 4.3). A single value is its own interval.
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    middle, error = _mean_and_error(values)
    kept = len(values) - 2 * int(TRIM * len(values))
    if kept < 2:
        return middle, middle, middle
    half = float(stdtrit(kept - 1, (1 + CONFIDENCE) / 2)) * error
    return middle, middle - half, middle + half


def ratio_interval(rounds: Sequence[Floats], seed: int = 0) -> tuple[float, float, float]:
    """Return a ratio that was measured in every turn of several rounds, and its 95 % interval.

    Args:
        rounds: Ratios of the turns, shape `(turns,)` for each round; a round is a set of fresh
            processes.
        seed: Seed of the bootstrap.

    The estimate is exp of the trimmed mean of the logarithms. The interval is a bootstrap over the
    turns within each round. It is widened by Student's quantile for the number of turns, and by the
    Birge ratio if rounds differ more than the variation of their turns explains: differences
    between fresh processes of one candidate do not shrink with more turns (Birge 1932; the scale
    factor of the Particle Data Group's Review, 5.2).
    """
    from scipy.special import stdtrit

    logs = [np.log(np.asarray(ratios, dtype=np.float64)) for ratios in rounds]
    pooled = np.concatenate(logs)
    middle = _trimmed_mean(pooled[None])[0]
    if len(pooled) < 2:
        only = math.exp(middle)
        return only, only, only
    random = np.random.default_rng(seed)
    drawn = [values[random.integers(0, len(values), (RESAMPLES, len(values)))] for values in logs]
    means = _trimmed_mean(np.concatenate(drawn, axis=1))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    kept = len(pooled) - 2 * int(TRIM * len(pooled))
    student = float(stdtrit(max(kept - 1, 1), (1 + CONFIDENCE) / 2)) / 1.96
    wider = student * max(1.0, _birge(logs))
    return (
        math.exp(middle),
        math.exp(middle - (middle - low) * wider),
        math.exp(middle + (high - middle) * wider),
    )


def _birge(rounds: Sequence[Floats]) -> float:
    """Return the Birge ratio: the rounds' scatter relative to their standard errors; expected 1.

    Rounds of two turns or fewer are left out; with fewer than two rounds left the result is 1.
    """
    found = [_mean_and_error(values) for values in rounds if len(values) > 2]
    if len(found) < 2:
        return 1.0
    means, errors = np.array(found).T
    weights = 1 / np.maximum(errors, LEAST_ERROR) ** 2
    mean = (weights * means).sum() / weights.sum()
    return math.sqrt(float((weights * (means - mean) ** 2).sum()) / (len(found) - 1))


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
