"""What a trial should take: as long as those like it took, with building or without."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tunefront.search.trial import Trial

Floats = npt.NDArray[np.float64]

SHARPNESS = 4.0
"""How fast a trial's say falls with its distance: one that differs in a whole choice has 2 %."""
REUSED = 1 / 3
"""Of what a trial takes that builds, what one takes that finds it built, before any was seen."""


def expected_seconds(
    trials: Sequence[Trial], distances: Floats, built: npt.NDArray[np.bool_]
) -> Floats:
    """Seconds of each candidate, `(candidates,)`; ones where no trial's are known.

    Args:
        trials: Measured ones.
        distances: From each trial to each candidate, `(trials, candidates)`.
        built: Whether what the candidate needs is built already, `(candidates,)`.
    """
    seconds = np.array([_seconds(trial) for trial in trials])
    reused = np.array([_reused(trial) for trial in trials], dtype=np.bool_)
    found: list[Floats] = []
    for kind in (reused, ~reused):
        own = kind & (seconds > 0)
        found.append(_smoothed(distances[own], seconds[own]) if own.any() else np.empty(0))
    without, whole = found
    if not len(whole):
        whole = without / REUSED if len(without) else np.ones(len(built))
    if not len(without):
        without = whole * REUSED if (seconds > 0).any() else whole
    return np.where(built, np.minimum(without, whole), whole)


def _smoothed(distances: Floats, seconds: Floats) -> Floats:
    """The mean of logarithms, those near first, `(candidates,)`."""
    weights = np.exp(-SHARPNESS * (distances - distances.min(axis=0)))
    mean: Floats = np.exp(np.log(seconds) @ weights / weights.sum(axis=0))
    return mean


def _seconds(trial: Trial) -> float:
    return trial.evaluation.own_s if trial.evaluation else 0.0


def _reused(trial: Trial) -> bool:
    return trial.evaluation is not None and "candidate" in trial.evaluation.reused
