"""Results of confirmation: throughput ratios of turns and metric values of rounds.

A round is an interleaved measurement of the finalists and the baseline in fresh processes. Ratios
are formed within a turn, so drift of the machine affects both throughputs alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from tunefront.evaluators import Measurement, ratio_interval
from tunefront.evaluators.isolation.codec import from_plain, to_plain

from .trial import Trial

REMEASURED = (
    "latency_p90_ms",
    "latency_p99_ms",
    "peak_memory_mb",
    "model_memory_mb",
    "energy_per_item",
)
"""Metrics measured in every round; the result is the median of the rounds, with their range."""
FOLLOWING = ("tokens_per_second", "cost_per_million_items", "cost_per_million_tokens", "latency_ms")
"""Metrics derived from the throughput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Result of one finalist in one round.

    Attributes:
        ratios: Its throughput divided by the baseline's, one ratio for each turn.
        alike: Its throughput divided by that of the baseline's model at the same execution
            settings (batch size, threads, replicas), one ratio for each turn; empty if the baseline
            already has these settings, or its model cannot run with them.
        figures: Values by metric.
        quiet: Whether the included turns were undisturbed by other processes.
    """

    ratios: Sequence[float]
    alike: Sequence[float] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    quiet: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Results of all rounds.

    Attributes:
        rounds: Results in each round, by number, of the finalists that completed all rounds.
        asked: Numbers of all finalists, including those that failed in a round.
    """

    rounds: Mapping[int, Sequence[Round]] = field(default_factory=dict)
    asked: Sequence[int] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return cast(dict[str, Any], to_plain(self))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Confirmation":
        """Return the confirmation from the result of `to_dict`, or an empty one from `{}`."""
        return from_plain(cls, fields)

    def with_rounds(self, found: Mapping[int, Sequence[Round | None]]) -> "Confirmation":
        """Return a copy with more rounds.

        Args:
            found: New results by trial number, None for a failed round. A finalist with a failed
                round gets none of its new results.
        """
        whole = {number: [r for r in rounds if r] for number, rounds in found.items()}
        rounds = {n: (*self.rounds.get(n, ()), *whole[n]) for n in found if all(found[n])}
        return Confirmation(
            rounds={**self.rounds, **rounds}, asked=tuple(sorted({*self.asked, *found}))
        )

    def speedup(self, number: int) -> Measurement | None:
        """Return throughput / baseline throughput within turns; None if not confirmed."""
        return _ratio([found.ratios for found in self.rounds.get(number, ())])

    def speedup_alike(self, number: int) -> Measurement | None:
        """Return throughput / that of the baseline's model at the same execution settings.

        Ratios are formed within turns; None if any round has no such ratios.
        """
        return _ratio([found.alike for found in self.rounds.get(number, ())])

    def doubt(self, number: int) -> str:
        """Return a warning if most rounds were disturbed by other processes, else an empty text."""
        rounds = self.rounds.get(number, ())
        noisy = sum(not found.quiet for found in rounds)
        if 2 * noisy <= len(rounds):
            return ""
        return f"others took the cores in {noisy} of {len(rounds)} rounds of confirmation"


def _ratio(rounds: Sequence[Sequence[float]]) -> Measurement | None:
    if not rounds or not all(rounds):
        return None
    value, low, high = ratio_interval([np.array(ratios) for ratios in rounds])
    samples = sum(len(ratios) for ratios in rounds)
    return Measurement(value=value, unit="x", low=low, high=high, samples=samples)


def confirmed(trials: Sequence[Trial], confirmation: Confirmation) -> list[Trial]:
    """Return the trials with confirmed measurements in place of those of the search.

    Confirmed throughput = confirmed ratio x trial 0's throughput, so that confirmed and unconfirmed
    trials share one reference level even if the machine's speed has changed since.
    """
    if not confirmation.rounds.get(0) or not trials or not trials[0].measured:
        return list(trials)
    throughput = trials[0].measurements.get("throughput")
    level = None if throughput is None else throughput.value
    return [
        _confirmed(trial, confirmation, level)
        if trial.number in confirmation.rounds and trial.measured
        else trial
        for trial in trials
    ]


def _confirmed(trial: Trial, confirmation: Confirmation, level: float | None) -> Trial:
    figures = {**trial.measurements, **_figures(trial, confirmation, level)}
    evaluation, doubt = trial.evaluation, confirmation.doubt(trial.number)
    if evaluation is not None and doubt:
        evaluation = replace(evaluation, doubts=(*evaluation.doubts, doubt))
    return replace(trial, measurements=figures, evaluation=evaluation)


def _figures(
    trial: Trial, confirmation: Confirmation, level: float | None
) -> dict[str, Measurement]:
    """Return the confirmed measurements of a trial.

    Args:
        trial: The finalist.
        confirmation: Results of the rounds.
        level: Throughput of trial 0 in the search, items/s. If None, the throughput and the metrics
            derived from it are not confirmed.
    """
    rounds = confirmation.rounds[trial.number]
    figures: dict[str, Measurement] = {}
    for metric in REMEASURED:
        values = [found.figures[metric] for found in rounds if metric in found.figures]
        if values and metric in trial.measurements:
            figures[metric] = _of_rounds(values, trial.measurements[metric].unit)
    throughput = None if level is None else _throughput(trial, confirmation, level)
    if throughput is None:
        return figures
    shift = throughput.value / trial.value("throughput")
    return figures | {"throughput": throughput} | _followers(trial, throughput, shift)


def _throughput(trial: Trial, confirmation: Confirmation, level: float) -> Measurement | None:
    """Return the confirmed throughput in items/s; None if the trial or its rounds have none."""
    if "throughput" not in trial.measurements:
        return None
    if trial.number == 0:
        figures = [found.figures for found in confirmation.rounds[0]]
        rates = [found["throughput"] for found in figures if "throughput" in found]
        if not rates:
            return None
        drift = level / float(np.median(rates))
        return _of_rounds([drift * rate for rate in rates], "items/s")
    speedup = confirmation.speedup(trial.number)
    return None if speedup is None else _scaled(speedup, level, "items/s")


def _followers(trial: Trial, throughput: Measurement, shift: float) -> dict[str, Measurement]:
    """Return the metrics derived from the throughput, with its relative interval.

    Args:
        trial: The finalist.
        throughput: Its confirmed throughput.
        shift: Confirmed throughput / throughput measured in the search.
    """
    low, high = (end / throughput.value for end in (throughput.low, throughput.high))
    found: dict[str, Measurement] = {}
    for metric in FOLLOWING:
        if metric in trial.measurements:
            before = trial.measurements[metric]
            if metric == "tokens_per_second":
                value, ends = before.value * shift, (low, high)
            else:
                value, ends = before.value / shift, (1 / high, 1 / low)
            found[metric] = Measurement(
                value=value,
                unit=before.unit,
                low=value * ends[0],
                high=value * ends[1],
                samples=throughput.samples,
            )
    return found


def _of_rounds(values: Sequence[float], unit: str) -> Measurement:
    return Measurement(
        value=float(np.median(values)),
        unit=unit,
        low=min(values),
        high=max(values),
        samples=len(values),
    )


def _scaled(ratio: Measurement, level: float, unit: str) -> Measurement:
    return Measurement(
        value=ratio.value * level,
        unit=unit,
        low=ratio.low * level,
        high=ratio.high * level,
        samples=ratio.samples,
    )
