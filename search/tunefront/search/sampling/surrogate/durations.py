"""What a trial should take: as long as those like it took, with building or without."""

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.study.trial import Trial

SHARPNESS = 4.0
"""How fast a trial's say falls with its distance: one that differs in a whole choice has 2 %."""
REUSED = 1 / 3
"""Of what a trial takes that builds, what one takes that finds it built, before any was seen."""


class ExpectedSeconds:
    """Means of logarithms, those of trials that are near first, kept up trial by trial.

    Args:
        candidates: How many there are.
    """

    def __init__(self, candidates: int) -> None:
        self._weights = {reused: np.zeros(candidates) for reused in (True, False)}
        self._sums = {reused: np.zeros(candidates) for reused in (True, False)}
        self._seen = {True: False, False: False}

    def add(self, trial: Trial, distances: Floats) -> None:
        """A measured trial, and how far each candidate is from it, `(candidates,)`."""
        seconds, reused = _seconds(trial), _reused(trial)
        if seconds <= 0:
            return
        weights = np.exp(-SHARPNESS * distances)
        self._weights[reused] += weights
        self._sums[reused] += np.log(seconds) * weights
        self._seen[reused] = True

    def of(self, built: npt.NDArray[np.bool_]) -> Floats:
        """Seconds of each candidate, `(candidates,)`; ones where no trial's are known.

        Args:
            built: Whether what the candidate needs is built already, `(candidates,)`.
        """
        if not any(self._seen.values()):
            return np.ones(len(built))
        whole = self._mean(False) if self._seen[False] else self._mean(True) / REUSED
        without = self._mean(True) if self._seen[True] else whole * REUSED
        return np.where(built, np.minimum(without, whole), whole)

    def _mean(self, reused: bool) -> Floats:
        mean: Floats = np.exp(self._sums[reused] / self._weights[reused])
        return mean


def _seconds(trial: Trial) -> float:
    return trial.evaluation.own_s if trial.evaluation else 0.0


def _reused(trial: Trial) -> bool:
    return trial.evaluation is not None and "candidate" in trial.evaluation.reused
