"""What a first look at a trial's speed is worth.

A look costs a few turns. It counts once enough trials have had both: where it ranks them as all
their turns did, a trial that could not reach the front even if the look missed as far as looks have
missed ends there (race.py). Where it ranks them otherwise, all trials have all their turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunefront.evaluators import FirstLook, Measurement, speed_against
from tunefront.search.experiment.objective import Objective
from tunefront.search.front.pareto import nondominated
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted

LEAST_RANKED_TRIALS = 8
"""With a first look and all turns, before looks are trusted."""
LEAST_CORRELATION = 0.9
"""Of the ranks by first look and by all turns; below it no trial ends early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What first looks were worth so far.

    Attributes:
        trials: That had a first look and all their turns.
        correlation: Of their ranks (Spearman); 0 below two trials.
        deviation: Of the logarithm of the first look's speed from that of all turns.
        ended: Trials that ended at their first look.
        checked: Trials that would have, and went on.
        wrong: Of those, the ones that are on the front.
    """

    trials: int
    correlation: float
    deviation: float
    ended: int
    checked: int
    wrong: int

    @property
    def trusted(self) -> bool:
        """Whether trials may end at their first look."""
        known = self.trials >= LEAST_RANKED_TRIALS and self.correlation >= LEAST_CORRELATION
        return known and self.wrong == 0

    def told(self) -> str:
        """In words; empty where there is nothing to tell."""
        if self.trials < LEAST_RANKED_TRIALS:
            return ""
        found = f"first looks rank speed as all turns do at {self.correlation:.2f}"
        if self.wrong:
            return f"{found}, but {self.wrong} of {self.checked} checked were wrong: not trusted"
        if not self.trusted:
            return f"{found}, not trusted below {LEAST_CORRELATION:g}"
        checked = f", {self.checked} checked and right" if self.checked else ""
        return f"{found}: {counted(self.ended, 'trial')} ended there{checked}"


def fidelity_of(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Fidelity:
    """What the first looks of a record were worth."""
    looks = [(trial, look) for trial in trials if (look := look_of(trial)) is not None]
    whole = [(trial, look) for trial, look in looks if not look.ended]
    pairs = [(look.speed, _speed(trial)) for trial, look in whole]
    known = [[first.value, all_.value] for first, all_ in pairs if first and all_]
    logs = np.log(known).reshape(-1, 2)
    checked = [trial for trial, look in whole if look.hopeless]
    return Fidelity(
        trials=len(known),
        correlation=_rank_correlation(logs),
        deviation=float(np.sqrt(np.mean(np.diff(logs) ** 2))) if len(logs) else 0.0,
        ended=len(looks) - len(whole),
        checked=len(checked),
        wrong=sum(trial in checked for trial in unbeaten(trials, objectives)),
    )


def look_of(trial: Trial) -> FirstLook | None:
    """What the first turns of a trial showed; None where it has no figures, or had no others."""
    if not trial.measured or trial.evaluation is None:
        return None
    return trial.evaluation.first_look


def _speed(trial: Trial) -> Measurement | None:
    assert trial.evaluation is not None
    return speed_against(trial.evaluation)


def unbeaten(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Those that keep the limits and that nothing beats."""
    kept = [trial for trial in trials if trial.status == "ok"]
    if not kept:
        return []
    costs = np.array([[trial.cost(o) for o in objectives] for trial in kept])
    return [trial for trial, on in zip(kept, nondominated(costs), strict=True) if on]


def _rank_correlation(columns: npt.NDArray[np.float64]) -> float:
    """Spearman's, of two columns; 0 where either has no ranks."""
    if len(columns) < 2:
        return 0.0
    first, second = (_ranks(column) for column in columns.T)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From 0; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts + 1) / 2
    ranks: npt.NDArray[np.float64] = means[places.reshape(-1)]
    return ranks
