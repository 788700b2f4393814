"""Reliability of interim results.

After a few turns an interim speed is available. Early stopping uses it only when enough trials
show that interim and final speed rank trials equally (Spearman >= 0.9); thresholds.py then decides,
with a margin of three standard deviations of the errors seen so far. Otherwise all trials run to
the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunefront.evaluators import InterimResult, Measurement, speed_against
from tunefront.evaluators.statistics.formatting import number_text
from tunefront.search.experiment.objective import Objective
from tunefront.search.front.pareto import nondominated
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted

LEAST_RANKED_TRIALS = 8
"""Trials with both interim and final speed that are needed before early stopping is used."""
LEAST_CORRELATION = 0.9
"""Rank correlation of interim and final speed below which no trial is stopped early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimReliability:
    """Reliability of the interim results of a record.

    Attributes:
        trials: Number of trials with both interim and final speed.
        correlation: Spearman correlation of interim and final speed; 0 below two trials.
        deviation: Root mean square of log(interim speed / final speed).
        stopped: Number of trials stopped early.
        controls: Number of control trials: they would have been stopped, but ran to the end.
        wrong: Number of control trials that are on the front.
    """

    trials: int
    correlation: float
    deviation: float
    stopped: int
    controls: int
    wrong: int

    @property
    def trusted(self) -> bool:
        """Whether interim results are reliable enough for early stopping."""
        known = self.trials >= LEAST_RANKED_TRIALS and self.correlation >= LEAST_CORRELATION
        return known and self.wrong == 0

    def describe(self) -> str:
        """Return a description; empty if too few trials have both speeds."""
        if self.trials < LEAST_RANKED_TRIALS:
            return ""
        correlation = number_text(self.correlation, decimals=2)
        found = f"rank correlation of interim and final speeds {correlation}"
        if self.wrong:
            return (
                f"{found}, but {self.wrong} of {self.controls} control trials disagreed: not used"
            )
        if not self.trusted:
            return f"{found}; not used below {LEAST_CORRELATION:g}"
        controls = f", {self.controls} control trials agreed" if self.controls else ""
        return f"{found}: {counted(self.stopped, 'trial')} stopped early{controls}"


def reliability_of(trials: Sequence[Trial], objectives: Sequence[Objective]) -> InterimReliability:
    """Return the reliability of the interim results of recorded trials."""
    interim = [
        (trial, result) for trial in trials if (result := interim_result_of(trial)) is not None
    ]
    whole = [(trial, result) for trial, result in interim if not result.stopped]
    pairs = [(result.speed, _speed(trial)) for trial, result in whole]
    known = [[first.value, all_.value] for first, all_ in pairs if first and all_]
    logs = np.log(known).reshape(-1, 2)
    controls = [trial for trial, result in whole if result.reason]
    return InterimReliability(
        trials=len(known),
        correlation=_rank_correlation(logs),
        deviation=float(np.sqrt(np.mean(np.diff(logs) ** 2))) if len(logs) else 0.0,
        stopped=len(interim) - len(whole),
        controls=len(controls),
        wrong=sum(trial in controls for trial in nondominated_trials(trials, objectives)),
    )


def interim_result_of(trial: Trial) -> InterimResult | None:
    """Return a trial's interim result; None if the trial was not measured or has none."""
    if not trial.measured or trial.evaluation is None:
        return None
    return trial.evaluation.interim


def _speed(trial: Trial) -> Measurement | None:
    assert trial.evaluation is not None
    return speed_against(trial.evaluation)


def nondominated_trials(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the nondominated trials among those that keep all limits."""
    kept = [trial for trial in trials if trial.status == "ok"]
    if not kept:
        return []
    costs = np.array([[trial.cost(o) for o in objectives] for trial in kept])
    return [trial for trial, on in zip(kept, nondominated(costs), strict=True) if on]


def _rank_correlation(columns: npt.NDArray[np.float64]) -> float:
    """Return the Spearman correlation of two columns, `(trials, 2)`; 0 if a column is constant."""
    if len(columns) < 2:
        return 0.0
    first, second = (_ranks(column) for column in columns.T)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ranks from 0; equal values share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts + 1) / 2
    ranks: npt.NDArray[np.float64] = means[places.reshape(-1)]
    return ranks
