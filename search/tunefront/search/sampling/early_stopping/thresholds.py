"""Early-stopping thresholds, sent to the worker with a trial.

A trial whose interim result shows that it cannot reach them is stopped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tunefront.evaluators import (
    Evaluation,
    InterimResult,
    Measurement,
    Metric,
    speed_against,
)
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
class StoppingThresholds:
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

    def interim_result(self, found: Evaluation) -> InterimResult:
        """Return the interim result of an evaluation after its first turns."""
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
        if any(objective.metric not in measurements for objective in self.objectives):
            return ""
        best = {
            o.metric: self._best(measurements[o.metric], o)
            if o.timed
            else measurements[o.metric].value
            for o in self.objectives
        }
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


def _slim(baseline: Evaluation) -> Evaluation:
    """Return the baseline without the fields that a comparison does not need."""
    return replace(baseline, outputs=(), blocks=(), log=(), facts={}, machine={})
