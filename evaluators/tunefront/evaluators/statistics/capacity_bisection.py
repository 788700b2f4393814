"""Capacity: the largest load at which a share of the requests keeps the SLO, from noisy probes.

A probe runs the candidate at one load for a while and yields the share of its requests that keep
the SLO. Consecutive requests meet the same queue, so that they are worth fewer independent ones,
and the machine's speed differs a little from probe to probe. The model of a probe at the load x, on
a logarithmic scale:

    logit(share) = logit(KEPT) - slope * (x - capacity + e),    e ~ N(0, deviation^2)

with a binomial likelihood of the independent requests. The posterior of capacity, slope and
deviation is computed on a grid. The next probe runs at the median of the capacity (probabilistic
bisection: Waeber, Frazier and Henderson, SIAM Journal on Control and Optimization 51, 2013), whose
interval are its quantiles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import Floats
from .dependence import autocorrelation_time
from .intervals import CONFIDENCE

KEPT = 0.95
"""Share of the requests that must keep the SLO."""
MOST_PROBES = 8
"""Most probes of a search."""
PRECISE = 0.02
"""Half-width of the interval, on the logarithmic scale, at which a search ends earlier."""
ONE_SIDED = 3
"""Fewest probes that have all broken the SLO after which a lower load is looked for."""
BELOW = 0.9
"""Probability with which this load is below the capacity."""
OVERLOADED = 0.5
"""Share below which only this is used: how much is below depends on how long a probe lasts."""
START_SCALE = 0.7
"""Scale of the capacity's prior (Laplace, on the logarithmic scale) around the first load."""
LOG_DECIMALS = 6
"""Decimals of the logarithms of times; what is below is rounding."""
DEVIATION_SCALE = 0.03
"""Scale of the deviation between probes, above which larger ones are less probable: by 1 / x.

The grid of deviations is geometric. A speed that differs by 1 % changes the capacity by up to 4 %.
"""
_SLOPES = np.geomspace(3.0, 100.0, 9)
_DEVIATIONS = np.array([0.005, 0.015, 0.03, 0.06, 0.12, 0.24])
_REACH = 1.6
"""Largest distance of the capacity from the probed loads, on the logarithmic scale."""
_POINTS, _PADDING = 1000, 268
"""Points of the grid of capacities, and those beyond each of its ends when it is smoothed."""
_LEAST_LIKELIHOOD = 1e-12
"""Smallest likelihood relative to the largest one: below it smoothing is rounding."""
_BOUNDARY = math.log(KEPT / (1 - KEPT))


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityProbe:
    """A load that was tried.

    Attributes:
        level: The load: requests a second, or requests in progress.
        share: Share of its requests that kept the SLO.
        independent: Number of independent requests that they are worth.
        requests: Number of requests whose times were drawn within a given time (an open loop),
            so that their rate is exact; 0 if the load has no random times.
    """

    level: float
    share: float
    independent: float
    requests: int = 0

    @classmethod
    def of(cls, level: float, ratios: Floats, requests: int = 0) -> "CapacityProbe":
        """Return the probe of requests in the order in which they were sent.

        Args:
            level: The load.
            ratios: For each request the largest ratio of a time to its limit; infinite if the
                request did not end in time. At most 1 keeps the SLO.
            requests: As the attribute.

        Their number is divided by the autocorrelation time of the ratios' logarithms, which is also
        known if all requests keep the SLO.
        """
        largest = max(float(ratios[np.isfinite(ratios)].max(initial=1.0)), 1.0)
        logs: Floats = np.log(np.clip(ratios, 1e-9, 2 * largest)).round(LOG_DECIMALS)
        independent = max(1.0, len(ratios) / autocorrelation_time(logs))
        share = float((ratios <= 1).mean())
        return cls(level=level, share=share, independent=independent, requests=requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posterior:
    """The posterior on a grid.

    Attributes:
        capacity: Logarithms of the capacity, shape `(points,)`.
        weights: Probabilities, shape `(points, slopes)`.
    """

    capacity: Floats
    weights: Floats


def next_level(probes: Sequence[CapacityProbe], start: float) -> float:
    """Return the load of the next probe: the median of the capacity.

    If `ONE_SIDED` probes or more have all broken the SLO, it is a load that is below the capacity
    with probability `BELOW`: both sides must be seen.

    Args:
        probes: The probes so far.
        start: The load of the first one.
    """
    if not probes:
        return start
    found = _posterior(probes, start)
    broken = all(probe.share < KEPT for probe in probes)
    share = 1 - BELOW if broken and len(probes) >= ONE_SIDED else 0.5
    return math.exp(_quantiles(found.capacity, found.weights.sum(axis=1), (share,))[0])


def capacity_interval(
    probes: Sequence[CapacityProbe], start: float
) -> tuple[float, float, float] | None:
    """Return the capacity and its 95 % interval; None if no probe kept the SLO.

    The value is the highest load of a probe, and the upper end infinite, if all kept it.

    The times of an open loop are drawn so that each probe has its exact rate. At the same mean rate
    a stationary load fluctuates slowly besides, by 1 / sqrt(requests), and keeps the SLO less
    often, because the share falls faster at higher rates. The capacity is corrected by the slope
    times the variance of these fluctuations, at most by their standard deviation. (Of a logistic
    curve it would be 0.45 of that; the simulations of docs/decisions.md have 1.1 to 2.)
    """
    if not any(probe.share >= KEPT for probe in probes):
        return None
    found = _posterior(probes, start)
    variance = float(np.mean([1 / one.requests if one.requests else 0.0 for one in probes]))
    shift = np.minimum(_SLOPES * variance, math.sqrt(variance))
    capacity = (found.capacity[:, None] - shift).ravel()
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = _quantiles(capacity, found.weights.ravel(), (tail, 0.5, 1 - tail))
    if all(probe.share >= KEPT for probe in probes):
        highest = max(probe.level for probe in probes)
        return highest, min(highest, math.exp(low)), math.inf
    return math.exp(middle), math.exp(low), math.exp(high)


def precise(interval: tuple[float, float, float] | None) -> bool:
    """Return whether an interval is so narrow that a search can end."""
    if interval is None or not math.isfinite(interval[2]):
        return False
    return math.log(interval[2] / interval[1]) <= 2 * PRECISE


def _posterior(probes: Sequence[CapacityProbe], start: float) -> _Posterior:
    """Return the posterior on a grid around the probed loads."""
    levels = np.log([probe.level for probe in probes])
    capacity = np.linspace(levels.min() - _REACH, levels.max() + _REACH, _POINTS)
    logs = np.zeros((len(_SLOPES), len(_DEVIATIONS), _POINTS))
    logs -= 0.5 * np.log1p((_DEVIATIONS / DEVIATION_SCALE) ** 2)[:, None]
    logs -= np.abs(capacity - math.log(start)) / START_SCALE
    for probe in probes:
        logs += _log_likelihood(probe, capacity)
    weights = np.exp(logs - logs.max()).sum(axis=1).T
    return _Posterior(capacity=capacity, weights=weights / weights.sum())


def _log_likelihood(probe: CapacityProbe, capacity: Floats) -> Floats:
    """Return the logarithm of a probe's likelihood, shape `(slopes, deviations, points)`.

    The likelihood without a deviation is smoothed by a normal distribution of each deviation.
    """
    step = capacity[1] - capacity[0]
    beyond = step * np.arange(1, _PADDING + 1)
    wide = np.concatenate([capacity[0] - beyond[::-1], capacity, capacity[-1] + beyond])
    found = np.exp(_binomial(probe, math.log(probe.level) - wide))
    frequency = np.fft.rfftfreq(len(wide), step)
    smoothing = np.exp(-2 * (np.pi * np.outer(_DEVIATIONS, frequency)) ** 2)
    spectrum = np.fft.rfft(found)[:, None] * smoothing
    smooth = np.fft.irfft(spectrum, len(wide))[..., _PADDING:-_PADDING]
    logs: Floats = np.log(np.maximum(smooth, _LEAST_LIKELIHOOD))
    return logs


def _binomial(probe: CapacityProbe, distance: Floats) -> Floats:
    """Return the logarithm of a probe's likelihood, at most 0, shape `(slopes, points)`.

    Args:
        probe: The probe.
        distance: By how much the load's logarithm is above that of the capacity, `(points,)`.
    """
    from scipy.special import log_ndtr  # scipy.special takes a moment to import

    logit = _BOUNDARY - _SLOPES[:, None] * distance
    if probe.share < OVERLOADED:
        kept = 1 / (1 + np.exp(-logit))
        deviation = np.sqrt(kept * (1 - kept) / probe.independent) + 1e-9
        overloaded: Floats = np.asarray(log_ndtr((OVERLOADED - kept) / deviation))
        return overloaded
    broken = (1 - probe.share) * probe.independent
    logs = -probe.independent * np.logaddexp(0.0, -logit) - broken * logit
    found: Floats = logs - logs.max()
    return found


def _quantiles(values: Floats, weights: Floats, shares: Sequence[float]) -> list[float]:
    """Return quantiles of weighted values."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    found: list[float] = np.interp(shares, total / total[-1], values[order]).tolist()
    return found
