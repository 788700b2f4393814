"""Results of confirmation: ratios of the reference rate within turns and metric values of rounds.

A round is an interleaved measurement of the finalists and the baseline in fresh processes. Ratios
are formed within a turn, so drift of the machine affects both rates equally. Other values of timed
requests are converted to the machine's speed in trial 0 by the rate of the baseline in the round.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tunefront.evaluators import Measurement, Metric, ratio_interval, reference_rate
from tunefront.evaluators.interfaces.polled.capacity import CAPACITY, UNITS, CapacityResult
from tunefront.evaluators.statistics.rounds import rounds_interval

from .derived_metrics import (
    BETWEEN_PROCESSES,
    following,
    following_rate,
    scale_at,
    times,
    with_deviation,
)
from .process_deviation import process_deviation, with_process_deviation
from .trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Result of one finalist in one round.

    Attributes:
        ratios: Its rate divided by the baseline's, one ratio for each turn.
        same_execution_ratios: Its rate divided by that of the baseline's model at the same
            execution settings (batch size, threads, replicas), one ratio for each turn; empty if
            the baseline already has these settings, or its model cannot run with them.
        values: Values by metric.
        undisturbed: Whether the included turns were undisturbed by other processes.
        baseline_values: Values of the baseline in the same interleaved run, by metric.
        ratios_at: The ratios at each of several load levels, by name; empty if there is one. Other
            ratios are those at the highest level.
    """

    ratios: Sequence[float]
    same_execution_ratios: Sequence[float] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    undisturbed: bool = True
    baseline_values: Mapping[str, float] = field(default_factory=dict)
    ratios_at: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def ratios_of(self, level: str) -> Sequence[float]:
        """Return the ratios at a load level; at the highest one if the name is empty."""
        return self.ratios_at.get(level, ()) if level else self.ratios


PASSES_WITHOUT_BASELINE = 3
"""Number of passes in which the baseline can fail next to a finalist before it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Results of all rounds.

    Attributes:
        rounds: Results of the rounds, by number, of the baseline and of the finalists that did not
            fail in a round.
        finalists: Numbers of all finalists that are done, including those that failed in a round.
        without_baseline: Number of passes in which the baseline failed in a finalist's group, by
            number.
        capacities: Results of the searches for the capacity, by number.
    """

    rounds: Mapping[int, Sequence[Round]] = field(default_factory=dict)
    finalists: Sequence[int] = ()
    without_baseline: Mapping[int, int] = field(default_factory=dict)
    capacities: Mapping[int, CapacityResult] = field(default_factory=dict)

    def with_capacity(self, number: int, found: CapacityResult) -> "Confirmation":
        """Return a copy with the capacity of a finalist."""
        return replace(self, capacities={**self.capacities, number: found})

    def with_rounds(
        self, found: Mapping[int, Sequence[Round | None]], incomplete: Collection[int] = ()
    ) -> "Confirmation":
        """Return a copy with the rounds of one more pass.

        Args:
            found: New results by trial number, None for a round in which the finalist failed. A
                finalist with such a round gets none of its new results.
            incomplete: Numbers of the finalists that lack rounds because the baseline failed in
                their group. They keep their other rounds, and are measured in a further pass until
                `PASSES_WITHOUT_BASELINE` is reached.
        """
        whole = {n: [r for r in rounds if r] for n, rounds in found.items() if all(rounds)}
        rounds = {n: (*self.rounds.get(n, ()), *added) for n, added in whole.items() if added}
        failed = {n for n, results in found.items() if not all(results)}
        lacking = set(incomplete) - failed
        passes = {n: self.without_baseline.get(n, 0) + 1 for n in lacking}
        given_up = {n for n, count in passes.items() if count >= PASSES_WITHOUT_BASELINE}
        done = {*self.finalists, *found, *given_up} - (lacking - given_up)
        return Confirmation(
            rounds={**self.rounds, **rounds},
            finalists=tuple(sorted(done)),
            without_baseline={**self.without_baseline, **passes},
            capacities=self.capacities,
        )

    def speedup(self, number: int, level: str = "") -> Measurement | None:
        """Return rate / baseline rate within turns; None if not confirmed.

        Args:
            number: Number of the trial.
            level: The load level; empty for the highest one.
        """
        return _ratio([found.ratios_of(level) for found in self.rounds.get(number, ())])

    def same_execution_speedup(self, number: int) -> Measurement | None:
        """Return rate / that of the baseline's model at the same execution settings.

        Ratios are formed within turns; None if any round has no such ratios.
        """
        return _ratio([found.same_execution_ratios for found in self.rounds.get(number, ())])

    def warning(self, number: int) -> str:
        """Return a warning if most rounds were disturbed by other processes, else an empty text."""
        rounds = self.rounds.get(number, ())
        noisy = sum(not found.undisturbed for found in rounds)
        if 2 * noisy <= len(rounds):
            return ""
        return f"other processes used the cores in {noisy} of {len(rounds)} rounds of confirmation"


def _ratio(rounds: Sequence[Sequence[float]]) -> Measurement | None:
    if not rounds or not all(rounds):
        return None
    value, low, high = ratio_interval([np.array(ratios) for ratios in rounds])
    samples = sum(len(ratios) for ratios in rounds)
    found = Measurement(value=value, unit="x", low=low, high=high, samples=samples)
    # A single round does not show how much processes differ.
    return found if len(rounds) > 1 or low == high else with_deviation(found, BETWEEN_PROCESSES)


def confirmed(
    trials: Sequence[Trial], confirmation: Confirmation, metrics: Mapping[str, Metric]
) -> list[Trial]:
    """Return the trials with confirmed measurements in place of those of the search.

    Confirmed rate = confirmed ratio x trial 0's rate, so that confirmed and unconfirmed trials
    share one reference level even if the machine's speed has changed since. The intervals of
    unconfirmed trials get the variation between processes that the rounds have shown.

    Args:
        trials: The recorded trials.
        confirmation: Results of the rounds.
        metrics: All metrics of the experiment, by name.
    """
    return [
        _with_capacity(t, confirmation, metrics) for t in _rounds(trials, confirmation, metrics)
    ]


def _rounds(
    trials: Sequence[Trial], confirmation: Confirmation, metrics: Mapping[str, Metric]
) -> list[Trial]:
    """Return the trials with what their rounds have measured."""
    if not confirmation.rounds or not trials or not trials[0].measured:
        return list(trials)  # recorded trials have the variation that is assumed without rounds
    rates = {rate.name for rate in metrics.values() if rate.reference_rate}
    levels = {n: one for n, one in trials[0].measurements.items() if n in rates}
    others = (rounds for number, rounds in confirmation.rounds.items() if number != 0)
    deviation = process_deviation([[one.ratios for one in rounds] for rounds in others])
    return [
        _confirmed(trial, confirmation, metrics, levels)
        if trial.number in confirmation.rounds and trial.measured
        else with_process_deviation(trial, metrics, deviation)
        for trial in trials
    ]


def _confirmed(
    trial: Trial,
    confirmation: Confirmation,
    metrics: Mapping[str, Metric],
    levels: Mapping[str, Measurement],
) -> Trial:
    known = [metrics[name] for name in trial.measurements if name in metrics]
    measured = _remeasured(trial, confirmation.rounds[trial.number], known, levels)
    for rate in (metric for metric in known if metric.reference_rate):
        group = following_rate(known, rate)
        measured |= _following(trial, confirmation, group, rate, levels.get(rate.name))
    evaluation, warning = trial.evaluation, confirmation.warning(trial.number)
    if evaluation is not None and warning:
        evaluation = replace(evaluation, warnings=(*evaluation.warnings, warning))
    return replace(trial, measurements={**trial.measurements, **measured}, evaluation=evaluation)


def _with_capacity(
    trial: Trial, confirmation: Confirmation, metrics: Mapping[str, Metric]
) -> Trial:
    """Return a trial with its capacity, if that was measured and is a metric of the experiment."""
    found = confirmation.capacities.get(trial.number)
    if found is None or not trial.measured or not _searched(found, metrics):
        return trial
    if (capacity := found.measurement) is None:
        return trial
    if found.search.kind == "rate":  # requests in progress are whole
        capacity = with_deviation(capacity, BETWEEN_PROCESSES)
    return replace(trial, measurements={**trial.measurements, CAPACITY.name: capacity})


def _searched(found: CapacityResult, metrics: Mapping[str, Metric]) -> bool:
    """Return whether a capacity is of the kind that the experiment has now."""
    capacity = metrics.get(CAPACITY.name)
    return capacity is not None and capacity.unit == UNITS[found.search.kind]


def _remeasured(
    trial: Trial,
    rounds: Sequence[Round],
    metrics: Sequence[Metric],
    levels: Mapping[str, Measurement],
) -> dict[str, Measurement]:
    """Return the metrics that each round measures by itself, with their interval over the rounds.

    Values of timed requests are converted to the machine's speed in trial 0.

    Args:
        trial: The finalist.
        rounds: Its rounds.
        metrics: The metrics that it has.
        levels: Reference rates of trial 0 in the search, by metric.
    """
    found: dict[str, Measurement] = {}
    for metric in metrics:
        rate = reference_rate(metrics, metric.level)
        factors = [_speed_factor(one, rate, levels) for one in rounds]
        values = [
            one.values[metric.name] * scale_at(metric, factor)
            for one, factor in zip(rounds, factors, strict=True)
            if metric.name in one.values
        ]
        if values and metric.follows == "none":
            found[metric.name] = _of_rounds(values, trial.measurements[metric.name].unit)
    return found


def _speed_factor(found: Round, rate: Metric | None, levels: Mapping[str, Measurement]) -> float:
    """Return how much faster the machine was in trial 0 than in a round; 1 if it is not known."""
    now = None if rate is None else found.baseline_values.get(rate.name)
    level = None if rate is None else levels.get(rate.name)
    return 1.0 if level is None or not now else level.value / now


def _following(
    trial: Trial,
    confirmation: Confirmation,
    metrics: Sequence[Metric],
    rate: Metric,
    level: Measurement | None,
) -> dict[str, Measurement]:
    """Return the reference rate and the metrics that follow the speed-up.

    Args:
        trial: The finalist.
        confirmation: Results of the rounds.
        metrics: The metrics that the trial has at the rate's load level.
        rate: The reference rate.
        level: Its value in trial 0 in the search; None if it has none.
    """
    confirmed_rate = None if level is None else _rate(trial, confirmation, rate, level)
    if confirmed_rate is None:
        return {}
    speedup = confirmed_rate.value / trial.value(rate.name)
    found: dict[str, Measurement] = {}
    for metric in metrics:
        before = trial.measurements[metric.name]
        factor = 1 / speedup if metric.follows == "time" else speedup
        derived = following(metric, before.value * factor, before, confirmed_rate)
        if derived is not None:
            found[metric.name] = derived
    return found | {rate.name: confirmed_rate}


def _rate(
    trial: Trial, confirmation: Confirmation, rate: Metric, level: Measurement
) -> Measurement | None:
    """Return the confirmed reference rate; None if the rounds have none."""
    if trial.number == 0:
        found = [one.values[rate.name] for one in confirmation.rounds[0] if rate.name in one.values]
        if not found:
            return None
        drift = level.value / float(np.median(found))
        return _of_rounds([drift * value for value in found], rate.unit)
    speedup = confirmation.speedup(trial.number, rate.level)
    return None if speedup is None else times(replace(speedup, unit=rate.unit), level.value)


def _of_rounds(values: Sequence[float], unit: str) -> Measurement:
    value, low, high = rounds_interval(values)
    return Measurement(value=value, unit=unit, low=low, high=high, samples=len(values))
