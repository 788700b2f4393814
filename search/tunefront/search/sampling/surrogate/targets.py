"""Figures as a process learns them: less is better, logarithms where ratios tell more."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tunefront.evaluators import MEASURED_METRICS
from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.study.trial import Trial

TargetScale = Literal["linear", "log"]

RATIO = 3.0
"""Figures that are all positive and further apart than this factor are taken as logarithms."""


def learnable(
    trials: Sequence[Trial], metric: str, sign: float
) -> tuple[Floats, Floats, TargetScale]:
    """Figures to be minimised and their variances, `(trials,)` each, and how they are scaled.

    Args:
        trials: Measured ones.
        metric: Which figure.
        sign: 1 where less is better, -1 where more is.
    """
    values = np.array([trial.value(metric) for trial in trials])
    noise = np.array([variance(trial, metric) for trial in trials])
    if values.min() > 0 and values.max() / values.min() > RATIO:
        return sign * np.log(values), noise / values**2, "log"
    return sign * values, noise, "linear"


def scaled(trial: Trial, metric: str, sign: float, scale: TargetScale) -> tuple[float, float]:
    """One trial's figure and its variance as those of others are scaled; NaN where it can't be."""
    value, noise = trial.value(metric), variance(trial, metric)
    if scale == "linear":
        return sign * value, noise
    return (sign * float(np.log(value)), noise / value**2) if value > 0 else (np.nan, np.nan)


def variance(trial: Trial, metric: str) -> float:
    """Of a figure by itself, from its 95 % interval.

    All are judged on the same items: that quality's interval is wide is no noise between trials.
    """
    if metric not in MEASURED_METRICS:
        return 0.0
    found = trial.measurements[metric]
    return ((found.high - found.low) / 3.92) ** 2
