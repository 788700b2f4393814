"""What a trial has to reach, as its worker is told.

Where its first look shows that it can't, it ends there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tunefront.evaluators import (
    COST_METRICS,
    ENERGY_METRICS,
    Evaluation,
    FirstLook,
    Measurement,
    Metric,
    speed_against,
)
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.derived_metrics import LATENCIES, RATES, figures_from
from tunefront.search.study.trial import Trial

from .reliability import fidelity_of, unbeaten

DEVIATIONS = 3.0
"""How far a first look is taken to miss, in deviations of those before."""
LEAST_MISS = 0.02
"""The least that it is taken to miss, as a share of the speed."""
CHECKED = 8
"""One in so many trials goes on whatever its first look shows: that says what looks are worth."""
TIMED = frozenset({*RATES, *LATENCIES, *COST_METRICS, *ENERGY_METRICS})
"""Figures that more turns may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What a trial has to reach.

    Attributes:
        objectives: What counts.
        limits: What must be kept.
        rivals: Who is on the front so far, with the figures that each has at the least.
        baseline: The baseline's evaluation.
        primary: The metric that quality is judged by.
        price_per_hour: Of the machine; None where nobody said it.
        miss: How far a first look may miss, as a logarithm.
        check: Whether this trial goes on whatever its first look shows.
    """

    objectives: Sequence[Objective]
    limits: Sequence[Limit]
    rivals: Mapping[str, Mapping[str, float]]
    baseline: Evaluation
    primary: Metric
    price_per_hour: float | None
    miss: float
    check: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for Ray."""
        return {**asdict(self), "baseline": self.baseline.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Race":
        """The inverse of `to_dict`."""
        return cls(
            **{
                **fields,
                "objectives": tuple(Objective(**o) for o in fields["objectives"]),
                "limits": tuple(Limit(**limit) for limit in fields["limits"]),
                "baseline": Evaluation.from_dict(fields["baseline"]),
                "primary": Metric(**fields["primary"]),
            }
        )

    def look(self, found: Evaluation) -> FirstLook:
        """What the first turns show."""
        why = self._hopeless(found)
        return FirstLook(
            speed=speed_against(found), hopeless=why, ended=bool(why) and not self.check
        )

    def _hopeless(self, found: Evaluation) -> str:
        """Why it can't count any more; empty where it can."""
        figures = figures_from(found, self.baseline, self.primary, self.price_per_hour)
        for limit in self.limits:
            figure = figures.get(limit.metric)
            if figure is not None and not limit.kept(self._best(figure, limit.metric, limit.sign)):
                return f"first look: {limit} is out of reach"
        if any(objective.metric not in figures for objective in self.objectives):
            return ""
        best = {
            o.metric: self._best(figures[o.metric], o.metric, o.sign)
            if o.metric in TIMED
            else figures[o.metric].value
            for o in self.objectives
        }
        for name, rival in self.rivals.items():
            gaps = [o.sign * (best[o.metric] - rival[o.metric]) for o in self.objectives]
            if min(gaps) >= 0 and max(gaps) > 0:
                return f"first look: {name} is ahead in everything"
        return ""

    def _best(self, figure: Measurement, metric: str, sign: float) -> float:
        """The best that it may turn out to be; memory can only grow, and is exact so far."""
        if metric not in TIMED:
            return figure.low if sign > 0 else figure.high
        factor = math.exp(self.miss)
        if sign > 0:
            return min(figure.low, figure.value / factor)
        return max(figure.high, figure.value * factor)


def race_of(experiment: Experiment, trials: Sequence[Trial], number: int) -> Race | None:
    """What the next trial has to reach; None where first looks are not to be trusted.

    Args:
        experiment: What is searched.
        trials: The record so far.
        number: Of the trial.
    """
    baseline = trials[0].evaluation if trials else None
    fidelity = fidelity_of(trials, experiment.objectives)
    if not experiment.early_stop or not fidelity.trusted or baseline is None:
        return None
    return Race(
        objectives=experiment.objectives,
        limits=experiment.limits,
        rivals=_rivals(trials, experiment.objectives),
        baseline=_slim(baseline),
        primary=experiment.primary,
        price_per_hour=experiment.price_per_hour,
        miss=max(DEVIATIONS * fidelity.deviation, math.log1p(LEAST_MISS)),
        check=number % CHECKED == 0,
    )


def _rivals(
    trials: Sequence[Trial], objectives: Sequence[Objective]
) -> dict[str, dict[str, float]]:
    """The front so far, with the figures that each trial of it has at the least."""
    return {
        trial.name(): {o.metric: _least(trial.measurements[o.metric], o) for o in objectives}
        for trial in unbeaten(trials, objectives)
    }


def _least(figure: Measurement, objective: Objective) -> float:
    if objective.metric not in TIMED:
        return figure.value
    return figure.high if objective.sign > 0 else figure.low


def _slim(baseline: Evaluation) -> Evaluation:
    """What a comparison needs of it."""
    return replace(baseline, samples=(), blocks=(), log=(), facts={}, machine={})
