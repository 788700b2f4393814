"""Results of confirmation: ratios of the reference rate within turns and metric values of rounds.

A round is an interleaved measurement of the finalists and the baseline in fresh processes. Ratios
are formed within a turn, so drift of the machine affects both rates equally.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tunefront.evaluators import Measurement, Metric, ratio_interval, reference_rate

from .derived_metrics import following, times
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
    """

    ratios: Sequence[float]
    same_execution_ratios: Sequence[float] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    undisturbed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Results of all rounds.

    Attributes:
        rounds: Results in each round, by number, of the finalists that completed all rounds.
        finalists: Numbers of all finalists, including those that failed in a round.
    """

    rounds: Mapping[int, Sequence[Round]] = field(default_factory=dict)
    finalists: Sequence[int] = ()

    def with_rounds(self, found: Mapping[int, Sequence[Round | None]]) -> "Confirmation":
        """Return a copy with more rounds.

        Args:
            found: New results by trial number, None for a failed round. A finalist with a failed
                round gets none of its new results.
        """
        whole = {number: [r for r in rounds if r] for number, rounds in found.items()}
        rounds = {n: (*self.rounds.get(n, ()), *whole[n]) for n in found if all(found[n])}
        return Confirmation(
            rounds={**self.rounds, **rounds}, finalists=tuple(sorted({*self.finalists, *found}))
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
    return Measurement(value=value, unit="x", low=low, high=high, samples=samples)


def confirmed(
    trials: Sequence[Trial], confirmation: Confirmation, metrics: Mapping[str, Metric]
) -> list[Trial]:
    """Return the trials with confirmed measurements in place of those of the search.

    Confirmed rate = confirmed ratio x trial 0's rate, so that confirmed and unconfirmed trials
    share one reference level even if the machine's speed has changed since.

    Args:
        trials: The recorded trials.
        confirmation: Results of the rounds.
        metrics: All metrics of the experiment, by name.
    """
    if not confirmation.rounds.get(0) or not trials or not trials[0].measured:
        return list(trials)
    rate = reference_rate(metrics.values())
    level = None if rate is None else trials[0].measurements.get(rate.name)
    return [
        _confirmed(trial, confirmation, metrics, level)
        if trial.number in confirmation.rounds and trial.measured
        else trial
        for trial in trials
    ]


def _confirmed(
    trial: Trial,
    confirmation: Confirmation,
    metrics: Mapping[str, Metric],
    level: Measurement | None,
) -> Trial:
    known = [metrics[name] for name in trial.measurements if name in metrics]
    measured = _remeasured(trial, confirmation.rounds[trial.number], known)
    measured |= _following(trial, confirmation, known, level)
    evaluation, warning = trial.evaluation, confirmation.warning(trial.number)
    if evaluation is not None and warning:
        evaluation = replace(evaluation, warnings=(*evaluation.warnings, warning))
    return replace(trial, measurements={**trial.measurements, **measured}, evaluation=evaluation)


def _remeasured(
    trial: Trial, rounds: Sequence[Round], metrics: Sequence[Metric]
) -> dict[str, Measurement]:
    """Return the metrics that each round measures on its own: median of the rounds and range."""
    found: dict[str, Measurement] = {}
    for metric in metrics:
        values = [one.values[metric.name] for one in rounds if metric.name in one.values]
        if values and metric.follows == "none":
            found[metric.name] = _of_rounds(values, trial.measurements[metric.name].unit)
    return found


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
    return Measurement(
        value=float(np.median(values)),
        unit=unit,
        low=min(values),
        high=max(values),
        samples=len(values),
    )
