"""Regression targets of the Gaussian processes: values to minimise, linear or logarithmic."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.trial import Trial

TargetScale = Literal["linear", "log"]

RATIO = 3.0
"""Ratio of largest to smallest value above which positive values are modelled as logarithms."""


def learnable(
    trials: Sequence[Trial], objective: Objective, scale: TargetScale | None = None
) -> tuple[Floats, Floats, TargetScale]:
    """Return the values to minimise and their variances, `(trials,)` each, and their scale.

    Args:
        trials: Measured trials.
        objective: The objective whose metric is learned.
        scale: The scale; None to choose it by the values.
    """
    values = np.array([trial.value(objective.metric) for trial in trials])
    noise = np.array([variance(trial, objective) for trial in trials])
    wide = values.min() > 0 and values.max() / values.min() > RATIO
    if scale == "log" or (scale is None and wide):
        return objective.sign * np.log(values), noise / values**2, "log"
    return objective.sign * values, noise, "linear"


def scaled(trial: Trial, objective: Objective, scale: TargetScale) -> tuple[float, float]:
    """Return one trial's target and variance on a given scale.

    Both are NaN if the scale is logarithmic and the value is not positive.
    """
    value, noise = trial.value(objective.metric), variance(trial, objective)
    if scale == "linear":
        return objective.sign * value, noise
    return (
        (objective.sign * float(np.log(value)), noise / value**2) if value > 0 else (np.nan, np.nan)
    )


def variance(trial: Trial, goal: Objective | Limit) -> float:
    """Return the measurement variance of a metric, from its 95 % interval.

    It is 0 for quality: all trials are evaluated on the same items, so the width of the interval is
    not noise between trials.
    """
    if goal.kind == "quality":
        return 0.0
    low, high = trial.measurements[goal.metric].ends
    return ((high - low) / 3.92) ** 2
