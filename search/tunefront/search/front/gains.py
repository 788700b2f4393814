"""Mean gain of a trial over the baseline in all objectives."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from tunefront.search.experiment.objective import Objective
from tunefront.search.study.trial import Trial

from .costs import values_of
from .intervals import Intervals


def gain_over(
    baseline: Trial, objectives: Sequence[Objective], intervals: Intervals
) -> Callable[[Trial], float]:
    """Return a function that gives a trial's mean gain over the baseline in all objectives.

    The gain in an objective is the logarithm of the ratio to the baseline, or the relative
    difference if either value is not positive. A gain within its 95 % interval counts as zero: of
    many trials with the same true quality the luckiest one would be recommended otherwise. A loss
    counts as estimated, also within its interval: where few items leave the interval wide, a loss
    that cannot be shown is no reason to take the trial for as good as the baseline.
    """

    def gain(trial: Trial) -> float:
        shown = _shown(baseline, trial, objectives, intervals)
        gains: list[float] = []
        for objective, certain in zip(objectives, shown, strict=True):
            own, base = trial.value(objective.metric), baseline.value(objective.metric)
            if own > 0 and base > 0:
                found = objective.sign * math.log(base / own)
            else:
                scale = max(abs(own), abs(base), 1e-12)
                found = objective.sign * (base - own) / scale
            gains.append(found if certain or found < 0 else 0.0)
        return float(np.mean(gains))

    return gain


def _shown(
    baseline: Trial, trial: Trial, objectives: Sequence[Objective], intervals: Intervals
) -> list[bool]:
    """Return for each objective whether the interval of the difference excludes zero."""
    values = values_of(intervals, [baseline, trial], objectives)
    (base, own), (base_low, _), (_, own_high) = values.middle, values.low, values.high
    half = np.hypot(own_high - own, base - base_low)
    return [bool(certain) for certain in base - own > half]
