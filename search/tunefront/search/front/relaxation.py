"""What giving way on a limit would buy: each limit alone, the others kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit
from tunefront.search.study.trial import Trial
from tunefront.spaces import show

from .picks import front_of

LIMIT_DIGITS = 3
"""Of a bound that is offered; it is rounded so that the trial keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """A limit that gives way.

    Attributes:
        limit: As it is.
        relaxed: As it would have to be.
        trial: What would be recommended then.
    """

    limit: Limit
    relaxed: Limit
    trial: Trial

    def __str__(self) -> str:
        return f"{self.limit} relaxed to {show(self.relaxed.bound)}"


def relaxations(
    experiment: Experiment,
    trials: Sequence[Trial],
    limits: Sequence[Limit],
    prefer: str | None = None,
) -> list[Relaxation]:
    """For each limit that is in the way of another recommendation, how far it would have to go.

    Args:
        experiment: Objectives and metrics.
        trials: The record.
        limits: The limits as they are.
        prefer: A metric that decides the recommendation alone.
    """
    found: list[Relaxation] = []
    for limit in dict.fromkeys(limits):
        others = [other for other in limits if other != limit]
        trial = front_of(experiment, trials, others, prefer).recommended
        if trial is None or limit.metric not in trial.measurements:
            continue  # no bound keeps a figure that there is not
        if limit.kept(trial.value(limit.metric)):
            continue
        bound = _outwards(trial.value(limit.metric), limit)
        relaxed = Limit(metric=limit.metric, test=limit.test, bound=bound)
        found.append(Relaxation(limit=limit, relaxed=relaxed, trial=trial))
    return found


def _outwards(value: float, limit: Limit) -> float:
    """The nearest number of few digits that the value keeps as a bound."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - LIMIT_DIGITS + 1)
    away = math.ceil if limit.test == "<=" else math.floor
    return float(f"{away(value / unit) * unit:.{LIMIT_DIGITS + 9}g}")
