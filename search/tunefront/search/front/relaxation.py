"""Relaxation of limits: the recommendation if one limit is dropped and the others stay."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tunefront.evaluators.statistics.formatting import number_text
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit
from tunefront.search.study.trial import Trial

from .picks import front_of

LIMIT_DIGITS = 3
"""Significant digits of a suggested bound; it is rounded so that the trial still keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """A limit, a looser bound for it, and the trial that would then be recommended.

    Attributes:
        limit: The current limit.
        relaxed: The limit with the looser bound.
        trial: The trial recommended under the relaxed limit.
    """

    limit: Limit
    relaxed: Limit
    trial: Trial

    def __str__(self) -> str:
        return f"{self.limit.text} relaxed to {number_text(self.relaxed.bound)}"


def relaxations(
    experiment: Experiment,
    trials: Sequence[Trial],
    limits: Sequence[Limit],
    prefer: str | None = None,
    unconfirmed: Collection[int] = (),
) -> list[Relaxation]:
    """Return a relaxation for each limit that excludes the trial recommended without it.

    Args:
        experiment: Objectives and metrics.
        trials: All recorded trials.
        limits: The current limits.
        prefer: Metric that alone decides the recommendation; None uses the experiment's.
        unconfirmed: Numbers of the unconfirmed trials.
    """
    found: list[Relaxation] = []
    for limit in dict.fromkeys(limits):
        others = [other for other in limits if other != limit]
        trial = front_of(experiment, trials, others, prefer, unconfirmed).recommended
        if trial is None or limit.metric not in trial.measurements:
            continue  # no bound helps a trial that lacks the metric
        if limit.kept(trial.value(limit.metric)):
            continue
        bound = _outwards(trial.value(limit.metric), limit)
        relaxed = replace(limit, bound=bound)
        found.append(Relaxation(limit=limit, relaxed=relaxed, trial=trial))
    return found


def _outwards(value: float, limit: Limit) -> float:
    """Return the tightest bound of `LIMIT_DIGITS` significant digits that the value keeps."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - LIMIT_DIGITS + 1)
    away = math.ceil if limit.test == "<=" else math.floor
    return float(f"{away(value / unit) * unit:.{LIMIT_DIGITS + 9}g}")
