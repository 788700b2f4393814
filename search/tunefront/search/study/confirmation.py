"""Results of confirmation: ratios of the reference rate within turns and metric values of rounds.

A round is an interleaved measurement of the finalists and the baseline in fresh processes. Ratios
are formed within a turn, so drift of the machine affects both rates equally. Other values of timed
requests are converted to the machine's speed in trial 0 by the rate of the baseline in the round.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tunefront.evaluators import Measurement, Metric, ratio_interval, reference_rate
from tunefront.evaluators.statistics.rounds import rounds_interval

from .derived_metrics import BETWEEN_PROCESSES, following, scale_at, times, with_deviation
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
    """

    ratios: Sequence[float]
    same_execution_ratios: Sequence[float] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    undisturbed: bool = True
    baseline_values: Mapping[str, float] = field(default_factory=dict)


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
    """

    rounds: Mapping[int, Sequence[Round]] = field(default_factory=dict)
    finalists: Sequence[int] = ()
    without_baseline: Mapping[int, int] = field(default_factory=dict)

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
        )

    def speedup(self, number: int) -> Measurement | None:
        """Return rate / baseline rate within turns; None if not confirmed."""
        return _ratio([found.ratios for found in self.rounds.get(number, ())])

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
    if not trials or not trials[0].measured:
        return list(trials)
    rate = reference_rate(metrics.values())
    level = None if rate is None else trials[0].measurements.get(rate.name)
    others = (rounds for number, rounds in confirmation.rounds.items() if number != 0)
    deviation = process_deviation([[one.ratios for one in rounds] for rounds in others])
    return [
        _confirmed(trial, confirmation, metrics, level)
        if trial.number in confirmation.rounds and trial.measured
        else with_process_deviation(trial, metrics, deviation)
        for trial in trials
    ]


def _confirmed(
    trial: Trial,
    confirmation: Confirmation,
    metrics: Mapping[str, Metric],
    level: Measurement | None,
) -> Trial:
    known = [metrics[name] for name in trial.measurements if name in metrics]
    measured = _remeasured(trial, confirmation.rounds[trial.number], known, level)
    measured |= _following(trial, confirmation, known, level)
    evaluation, warning = trial.evaluation, confirmation.warning(trial.number)
    if evaluation is not None and warning:
        evaluation = replace(evaluation, warnings=(*evaluation.warnings, warning))
    return replace(trial, measurements={**trial.measurements, **measured}, evaluation=evaluation)


def _remeasured(
    trial: Trial,
    rounds: Sequence[Round],
    metrics: Sequence[Metric],
    level: Measurement | None,
) -> dict[str, Measurement]:
    """Return the metrics that each round measures by itself, with their interval over the rounds.

    Values of timed requests are converted to the machine's speed in trial 0.

    Args:
        trial: The finalist.
        rounds: Its rounds.
        metrics: The metrics that it has.
        level: Reference rate of trial 0 in the search; None if it has none.
    """
    rate = reference_rate(metrics)
    factors = [_speed_factor(one, rate, level) for one in rounds]
    found: dict[str, Measurement] = {}
    for metric in metrics:
        values = [
            one.values[metric.name] * scale_at(metric, factor)
            for one, factor in zip(rounds, factors, strict=True)
            if metric.name in one.values
        ]
        if values and metric.follows == "none":
            found[metric.name] = _of_rounds(values, trial.measurements[metric.name].unit)
    return found


def _speed_factor(found: Round, rate: Metric | None, level: Measurement | None) -> float:
    """Return how much faster the machine was in trial 0 than in a round; 1 if it is not known."""
    now = None if rate is None else found.baseline_values.get(rate.name)
    return 1.0 if level is None or not now else level.value / now


def _following(
    trial: Trial,
    confirmation: Confirmation,
    metrics: Sequence[Metric],
    level: Measurement | None,
) -> dict[str, Measurement]:
    """Return the reference rate and the metrics that follow the speed-up.

    Args:
        trial: The finalist.
        confirmation: Results of the rounds.
        metrics: The metrics that the trial has.
        level: Reference rate of trial 0 in the search; None if it has none.
    """
    rate = reference_rate(metrics)
    confirmed_rate = (
        None if level is None or rate is None else _rate(trial, confirmation, rate, level)
    )
    if rate is None or confirmed_rate is None:
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
    speedup = confirmation.speedup(trial.number)
    return None if speedup is None else times(replace(speedup, unit=rate.unit), level.value)


def _of_rounds(values: Sequence[float], unit: str) -> Measurement:
    value, low, high = rounds_interval(values)
    return Measurement(value=value, unit=unit, low=low, high=high, samples=len(values))
