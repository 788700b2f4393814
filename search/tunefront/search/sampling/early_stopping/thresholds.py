"""Early-stopping thresholds, sent to the worker with a trial.

A trial whose interim result shows that it cannot reach them is stopped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tunefront.evaluators import (
    Evaluation,
    InterimResult,
    InterimRule,
    Measurement,
    Metric,
    speed_against,
)
from tunefront.search.experiment.evaluation_settings import quality_can_end_early
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.derived_metrics import derive_measurements
from tunefront.search.study.trial import Trial

from .reliability import nondominated_trials, reliability_of

DEVIATIONS = 3.0
"""Margin for interim errors, in standard deviations of the errors seen so far."""
LEAST_MARGIN = 0.02
"""Smallest margin, as a share of the speed."""
CONTROL_EVERY = 8
"""One in this many trials is a control trial: it is never stopped, to test interim results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingThresholds(InterimRule):
    """Early-stopping thresholds of one trial.

    Attributes:
        objectives: Objectives of the search.
        limits: Limits of the search.
        front: The current front: trial name to metric to the pessimistic end of its value.
        baseline: Evaluation of the baseline.
        primary: Primary quality metric.
        metrics: All metrics of the search, by name.
        price_per_hour: Price of the machine; None if not given.
        margin: Margin for the interim error, as a difference of logarithms.
        control: Whether this is a control trial or a reference, which are never stopped.
        best_quality: The best value of each quality objective in any trial.
        speed_first: Whether speed is measured before quality is evaluated; see `InterimRule`.
    """

    objectives: Sequence[Objective]
    limits: Sequence[Limit]
    front: Mapping[str, Mapping[str, float]]
    baseline: Evaluation
    primary: Metric
    metrics: Mapping[str, Metric]
    price_per_hour: float | None
    margin: float
    control: bool
    best_quality: Mapping[str, float] = field(default_factory=dict)
    speed_first: bool = False

    def interim_result(self, found: Evaluation) -> InterimResult:
        """Return the interim result of an evaluation after its first turns.

        Quality that is not known yet is taken as the best that any trial has.
        """
        why = self._unreachable(found)
        return InterimResult(
            speed=speed_against(found), reason=why, stopped=bool(why) and not self.control
        )

    def _unreachable(self, found: Evaluation) -> str:
        """Return why the trial can no longer keep a limit or reach the front; empty if it can."""
        measurements = derive_measurements(
            found, self.baseline, self.primary, self.metrics, self.price_per_hour
        )
        for limit in self.limits:
            measurement = measurements.get(limit.metric)
            if measurement is not None and not limit.kept(self._best(measurement, limit)):
                return f"interim result: {limit} is out of reach"
        unknown = [o for o in self.objectives if o.metric not in measurements]
        if any(objective.kind != "quality" for objective in unknown):
            return ""
        best = {
            o.metric: self._best(measurements[o.metric], o)
            if o.timed
            else measurements[o.metric].value
            for o in self.objectives
            if o not in unknown
        }
        best |= {o.metric: self.best_quality[o.metric] for o in unknown}
        for name, other in self.front.items():
            gaps = [o.sign * (best[o.metric] - other[o.metric]) for o in self.objectives]
            if min(gaps) >= 0 and max(gaps) > 0:
                return f"interim result: {name} is better in every objective"
        return ""

    def _best(self, measurement: Measurement, goal: Objective | Limit) -> float:
        """Return the best final value that the interim measurement still allows.

        A metric that depends on timing can improve by the margin. For others the better end of the
        interval is used: memory is exact so far and can only grow.
        """
        if not goal.timed:
            return measurement.low if goal.sign > 0 else measurement.high
        factor = math.exp(self.margin)
        if goal.sign > 0:
            return min(measurement.low, measurement.value / factor)
        return max(measurement.high, measurement.value * factor)


def thresholds_for(
    experiment: Experiment, trials: Sequence[Trial], number: int
) -> StoppingThresholds | None:
    """Return the thresholds of the next trial.

    None if early stopping is off, interim results are not reliable, or there is no baseline.

    Args:
        experiment: The experiment.
        trials: All trials so far.
        number: Number of the next trial.
    """
    baseline = trials[0].evaluation if trials else None
    reliability = reliability_of(trials, experiment.objectives)
    if not experiment.early_stop or not reliability.trusted or baseline is None:
        return None
    return StoppingThresholds(
        objectives=experiment.objectives,
        limits=experiment.limits,
        front=_front(trials, experiment.objectives),
        baseline=_slim(baseline),
        primary=experiment.primary,
        metrics=dict(experiment.metrics),
        price_per_hour=experiment.price_per_hour,
        margin=max(DEVIATIONS * reliability.deviation, math.log1p(LEAST_MARGIN)),
        control=number % CONTROL_EVERY == 0 or _is_reference(experiment, trials, number),
        best_quality=_best_quality(trials, experiment.objectives),
        speed_first=quality_can_end_early(experiment) and _quality_takes_longer(trials),
    )


def _is_reference(experiment: Experiment, trials: Sequence[Trial], number: int) -> bool:
    """Return whether a trial is a reference, which is compared with even if it is dominated."""
    known = {one.configuration for one in experiment.references}
    return any(trial.number == number and trial.configuration in known for trial in trials)


def _front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> dict[str, dict[str, float]]:
    """Return the current front with the pessimistic end of each trial's values."""
    return {
        trial.name(): {o.metric: _least(trial.measurements[o.metric], o) for o in objectives}
        for trial in nondominated_trials(trials, objectives)
    }


def _least(measurement: Measurement, objective: Objective) -> float:
    if not objective.timed:
        return measurement.value
    return measurement.high if objective.sign > 0 else measurement.low


def _best_quality(trials: Sequence[Trial], objectives: Sequence[Objective]) -> dict[str, float]:
    """Return the best value of each quality objective in any trial."""
    measured = [trial for trial in trials if trial.measured]
    return {
        o.metric: o.sign * min(trial.cost(o) for trial in measured)
        for o in objectives
        if o.kind == "quality" and measured
    }


def _quality_takes_longer(trials: Sequence[Trial]) -> bool:
    """Return whether quality took longer to evaluate than speed to measure, in the median trial."""
    ratios = [
        seconds["quality"] / seconds["measure"]
        for trial in trials
        if trial.measured
        and trial.evaluation is not None
        and "quality" not in trial.evaluation.reused
        and (seconds := trial.evaluation.seconds).get("measure", 0.0) > 0
        and "quality" in seconds
    ]
    return bool(ratios) and float(np.median(ratios)) > 1


def _slim(baseline: Evaluation) -> Evaluation:
    """Return the baseline without the fields that a comparison does not need."""
    return replace(baseline, outputs=(), blocks=(), log=(), facts={}, machine={})
