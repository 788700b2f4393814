"""Forecast of trial durations from similar trials, with and without a build."""

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.study.trial import Trial

SHARPNESS = 4.0
"""Decay of a trial's weight exp(-SHARPNESS d) with distance; at d = 1 the weight is 2 %."""
REUSED = 1 / 3
"""Assumed duration of a trial without a build, as a share of one with a build, until measured."""


class ExpectedSeconds:
    """Distance-weighted geometric means of trial durations, updated with every trial.

    Args:
        candidates: Number of configurations to forecast.
    """

    def __init__(self, candidates: int) -> None:
        self._weights = {reused: np.zeros(candidates) for reused in (True, False)}
        self._sums = {reused: np.zeros(candidates) for reused in (True, False)}
        self._known = {True: False, False: False}

    def add(self, trial: Trial, distances: Floats) -> None:
        """Add a measured trial.

        Args:
            trial: The measured trial; it is ignored if its duration is unknown.
            distances: Distance of each configuration from it, `(candidates,)`.
        """
        seconds, reused = _seconds(trial), _reused(trial)
        if seconds <= 0:
            return
        weights = np.exp(-SHARPNESS * distances)
        self._weights[reused] += weights
        self._sums[reused] += np.log(seconds) * weights
        self._known[reused] = True

    def of(self, built: npt.NDArray[np.bool_]) -> Floats:
        """Return the expected seconds, `(candidates,)`; ones if no duration is known.

        Args:
            built: Whether the configuration's candidate is already built, `(candidates,)`.
        """
        if not any(self._known.values()):
            return np.ones(len(built))
        whole = self._mean(False) if self._known[False] else self._mean(True) / REUSED
        without = self._mean(True) if self._known[True] else whole * REUSED
        return np.where(built, np.minimum(without, whole), whole)

    def _mean(self, reused: bool) -> Floats:
        mean: Floats = np.exp(self._sums[reused] / self._weights[reused])
        return mean


def _seconds(trial: Trial) -> float:
    return trial.evaluation.own_s if trial.evaluation else 0.0


def _reused(trial: Trial) -> bool:
    return trial.evaluation is not None and "candidate" in trial.evaluation.reused
