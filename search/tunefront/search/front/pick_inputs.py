"""All that picks are computed from, for the report's page, which picks under other limits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tunefront.evaluators import Metric
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.study.trial import Trial

from .costs import compared, values_of
from .gains import gain_over
from .intervals import Intervals
from .picks import changes, deciding

Ends = tuple[float, float, float]
"""A value and the ends of its interval, as costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialInputs:
    """The values of one measured trial that picks are computed from.

    Attributes:
        objectives: The values that decide ties, in the order of the objectives.
        deciding: The values that decide the fastest, the smallest and the highest-quality trial, by
            metric.
        absolute: Ends of the interval of a metric's absolute value, by metric.
        gain: Mean gain over the baseline in all objectives; None without a measured baseline.
        changes: Number of choices whose value differs from the baseline's.
        unconfirmed: Whether it has warnings, and no undisturbed confirmation.
    """

    objectives: tuple[Ends, ...]
    deciding: Mapping[str, Ends]
    absolute: Mapping[str, tuple[float, float]]
    gain: float | None
    changes: int
    unconfirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PickInputs:
    """All that picks are computed from.

    Attributes:
        speed: Metric that defines the fastest trial; None if there is none.
        size: Metric that defines the smallest trial; None if there is none.
        quality: Metric that defines the trial of the highest quality; None if there is none.
        trials: The values of every measured trial, by number.
    """

    speed: Metric | None
    size: Metric | None
    quality: Metric | None
    trials: Mapping[int, TrialInputs]


def pick_inputs(
    experiment: Experiment, trials: Sequence[Trial], unconfirmed: Collection[int] = ()
) -> PickInputs:
    """Return all that the picks of recorded trials are computed from, not rounded.

    Args:
        experiment: Objectives and metrics.
        trials: All recorded trials.
        unconfirmed: Numbers of the unconfirmed trials.
    """
    measured = [trial for trial in trials if trial.measured]
    speed, size, quality = deciding(experiment, trials)
    intervals = Intervals(experiment, trials)
    values = values_of(intervals, measured, experiment.objectives)
    baseline = intervals.base
    gain = None if baseline is None else gain_over(baseline, experiment.objectives, intervals)
    found = {
        trial.number: TrialInputs(
            objectives=tuple(
                (float(middle), float(low), float(high))
                for middle, low, high in zip(
                    values.middle[row], values.low[row], values.high[row], strict=True
                )
            ),
            deciding={m.name: compared(intervals, trial, m) for m in (speed, size, quality) if m},
            absolute=_absolute(intervals, trial),
            gain=gain(trial) if gain is not None else None,
            changes=changes(experiment, trial),
            unconfirmed=trial.number in unconfirmed,
        )
        for row, trial in enumerate(measured)
    }
    return PickInputs(speed=speed, size=size, quality=quality, trials=found)


def _absolute(intervals: Intervals, trial: Trial) -> dict[str, tuple[float, float]]:
    """Return the ends of all known metrics that differ from those of the measurement."""
    found: dict[str, tuple[float, float]] = {}
    for name, measurement in trial.measurements.items():
        if name in intervals.metrics:
            full = intervals.absolute(trial, name)
            if (full.low, full.high) != (measurement.low, measurement.high):
                found[name] = full.low, full.high
    return found
