"""Regression targets of the Gaussian processes: values to minimise, linear or logarithmic."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tunefront.evaluators import MEASURED_METRICS
from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.study.trial import Trial

TargetScale = Literal["linear", "log"]

RATIO = 3.0
"""Ratio of largest to smallest value above which positive values are modelled as logarithms."""


def learnable(
    trials: Sequence[Trial], metric: str, sign: float
) -> tuple[Floats, Floats, TargetScale]:
    """Return the values to minimise and their variances, `(trials,)` each, and their scale.

    Args:
        trials: Measured trials.
        metric: Name of the metric.
        sign: 1 if lower is better, -1 if higher is better.
    """
    values = np.array([trial.value(metric) for trial in trials])
    noise = np.array([variance(trial, metric) for trial in trials])
    if values.min() > 0 and values.max() / values.min() > RATIO:
        return sign * np.log(values), noise / values**2, "log"
    return sign * values, noise, "linear"


def scaled(trial: Trial, metric: str, sign: float, scale: TargetScale) -> tuple[float, float]:
    """Return one trial's target and variance on a given scale.

    Both are NaN if the scale is logarithmic and the value is not positive.
    """
    value, noise = trial.value(metric), variance(trial, metric)
    if scale == "linear":
        return sign * value, noise
    return (sign * float(np.log(value)), noise / value**2) if value > 0 else (np.nan, np.nan)


def variance(trial: Trial, metric: str) -> float:
    """Return the measurement variance of a metric, from its 95 % interval.

    It is 0 for metrics other than speed and memory: for quality, all trials are evaluated on the
    same items, so the width of the interval is not noise between trials.
    """
    if metric not in MEASURED_METRICS:
        return 0.0
    found = trial.measurements[metric]
    return ((found.high - found.low) / 3.92) ** 2
