"""Intervals of trials' measurements: in comparisons between trials, and of absolute values.

The speed of a trial is its ratio to the baseline in the same turns, times the speed of trial 0
(`steadied` in `study/derived_metrics.py`). The error of trial 0's speed is therefore a common
factor of all trials: it has no effect on their order, and counts in full for an absolute limit.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from tunefront.evaluators import Measurement, Metric, reference_rate
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Limit
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.trial import Trial

from .pareto import SMALLEST_DIFFERENCE


def seen(trial: Trial, metric: Metric) -> Measurement:
    """Return the measurement of a metric; memory that was read once gets an interval of +-1 %.

    A single reading has no interval, but the memory of processes of one candidate varies a little.
    """
    measurement = trial.measurements[metric.name]
    if not metric.single_reading or measurement.samples > 1:
        return measurement
    half = SMALLEST_DIFFERENCE * abs(measurement.value)
    return replace(measurement, low=measurement.value - half, high=measurement.value + half)


def interleaved(trial: Trial) -> bool:
    """Return whether the trial's speed is its ratio to the baseline's, times trial 0's speed."""
    return trial.evaluation is not None and trial.evaluation.relative is not None


def in_turns(trial: Trial, metric: Metric) -> bool:
    """Return whether the trial's value is a ratio to the baseline's, times trial 0's value."""
    return interleaved(trial) and metric.follows != "none" and trial.value(metric.name) > 0


def absolute(
    own: Trial, base: Trial | None, metric: Metric, rate: Metric | None = None
) -> Measurement:
    """Return a measurement with the full interval of its absolute value.

    The interval of an interleaved metric of speed covers only the ratio to the baseline; the
    interval of the baseline's own speed is added to it in quadrature on the log scale.

    Args:
        own: The trial.
        base: Trial 0; None if it was not measured.
        metric: The metric.
        rate: The metric that speed-ups are ratios of, whose interval is that of trial 0's speed;
            None takes the metric itself.
    """
    measurement = seen(own, metric)
    level = None if base is None else base.measurements.get((rate or metric).name)
    if base is None or level is None or own.number == base.number or not _scaled(own, metric):
        return measurement
    opposite = rate is not None and metric.direction != rate.direction
    return _widened(measurement, level, opposite)


def _scaled(trial: Trial, metric: Metric) -> bool:
    """Return whether trial 0's speed is a factor of the trial's value.

    Other percentiles of latency do not follow the speed-up, but are converted to trial 0's speed.
    """
    timed = metric.follows != "none" or metric.kind == "speed"
    return interleaved(trial) and timed and trial.value(metric.name) > 0


def _widened(found: Measurement, level: Measurement, opposite: bool) -> Measurement:
    """Return a measurement whose interval includes that of a factor.

    Args:
        found: The measurement.
        level: The factor.
        opposite: Whether the value is inversely proportional to the factor.
    """
    if level.value <= 0:
        return found
    ends = (above(level), below(level)) if opposite else (below(level), above(level))
    down, up = math.hypot(below(found), ends[0]), math.hypot(above(found), ends[1])
    return replace(found, low=found.value * math.exp(-down), high=found.value * math.exp(up))


def below(measurement: Measurement) -> float:
    """Return `log(value / low)`, or `(value - low) / value` if the interval reaches zero."""
    if measurement.low <= 0:
        return (measurement.value - measurement.low) / measurement.value
    return max(0.0, math.log(measurement.value / measurement.low))


def above(measurement: Measurement) -> float:
    """Return `log(high / value)`."""
    return max(0.0, math.log(measurement.high / measurement.value))


class Intervals:
    """Intervals of the measurements of one search.

    Args:
        experiment: Metrics, and the primary quality metric.
        trials: All recorded trials.
    """

    def __init__(self, experiment: Experiment, trials: Sequence[Trial]) -> None:
        self.metrics: Mapping[str, Metric] = experiment.metrics
        self.primary = experiment.primary
        self.base = next((t for t in trials if t.number == 0 and t.measured), None)
        self._trials = trials
        self._rates_by_level: dict[str, Metric | None] = {}

    @cached_property
    def _interleaved(self) -> bool:
        return any(interleaved(trial) for trial in self._trials if trial.measured)

    @cached_property
    def rates(self) -> Sequence[Metric]:
        """The metrics that speed-ups are ratios of, by load level; none if trial 0 has none."""
        known = () if self.base is None else self.base.measurements
        measured = [self.metrics[name] for name in known if name in self.metrics]
        return [metric for metric in measured if metric.reference_rate]

    def rate(self, metric: Metric) -> Metric | None:
        """Return the rate at a metric's load level; None if trial 0 has none."""
        if metric.level not in self._rates_by_level:
            self._rates_by_level[metric.level] = reference_rate(self.rates, metric.level)
        return self._rates_by_level[metric.level]

    def level(self, metric: Metric) -> Measurement | None:
        """Return trial 0's speed, by the rate at a metric's load level; None if it is unknown.

        It is a factor of the speed of all interleaved trials.
        """
        rate = self.rate(metric)
        if self.base is None or rate is None or not self._interleaved:
            return None
        return self.base.measurements[rate.name]

    def loss(self, trial: Trial, name: str) -> Measurement | None:
        """Return the quality drop if the metric is the primary quality metric, else None.

        Its interval is valid for comparisons between trials, because it is paired item by item.
        """
        return trial.measurements.get(QUALITY_DROP.name) if name == self.primary.name else None

    def shared(self, trial: Trial, name: str) -> bool:
        """Return whether trial 0's speed is a factor of a trial's value, apart from `between`."""
        metric = self.metrics[name]
        if self.level(metric) is None or self.base is None:
            return False
        if trial.number == self.base.number:
            return metric.follows != "none" and trial.value(name) > 0
        return _scaled(trial, metric)

    def between(self, trial: Trial, name: str) -> Measurement:
        """Return a measurement with the interval for comparisons: without the common factor.

        The ratio of trial 0 to itself is exact. If other trials were interleaved, one that was
        not has the error of the common factor in addition.
        """
        metric = self.metrics[name]
        found, level, rate = seen(trial, metric), self.level(metric), self.rate(metric)
        if level is None or rate is None or metric.follows == "none":
            return found
        if found.value <= 0 or interleaved(trial):
            return found
        if self.base is not None and trial.number == self.base.number:
            return replace(found, low=found.value, high=found.value)
        return _widened(found, level, metric.direction != rate.direction)

    def own(self, trial: Trial, name: str) -> Measurement:
        """Return a measurement with the interval of that part which no other trial shares."""
        exact = trial.number == 0 and self.shared(trial, name)
        return self.between(trial, name) if exact else seen(trial, self.metrics[name])

    def absolute(self, trial: Trial, name: str) -> Measurement:
        """Return a measurement with the interval of its absolute value: with the common factor."""
        metric = self.metrics[name]
        return absolute(trial, self.base, metric, self.rate(metric))

    def uncertain(self, trial: Trial, limits: Sequence[Limit]) -> tuple[Limit, ...]:
        """Return the limits that the trial keeps, but not with its whole absolute interval."""
        return tuple(
            limit
            for limit in limits
            if limit.metric in trial.measurements
            and limit.kept(trial.value(limit.metric))
            and not limit.certain(self.absolute(trial, limit.metric))
        )


def uncertain_text(limits: Collection[Limit]) -> str:
    """Return the text on limits that a trial keeps on the estimate only; empty without any."""
    named = " and ".join(limit.text for limit in limits)
    return f"meets {named} on the estimate; the 95 % interval crosses the limit" if named else ""


def is_unconfirmed(trial: Trial, confirmation: Confirmation) -> bool:
    """Return whether a measured trial has warnings, and no undisturbed confirmation."""
    if trial.number in confirmation.rounds:
        return bool(confirmation.warning(trial.number))
    return trial.evaluation is not None and bool(trial.evaluation.warnings)


def unconfirmed_trials(trials: Sequence[Trial], confirmation: Confirmation) -> frozenset[int]:
    """Return the numbers of the measured trials that are unconfirmed."""
    return frozenset(t.number for t in trials if t.measured and is_unconfirmed(t, confirmation))
