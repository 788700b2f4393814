"""What confirmation found: ratios of turns, figures of rounds; pure values.

A round is a set of fresh processes, the finalists' and the baseline's, that take turns. Ratios are
taken within a turn, so that a machine that drifts drags both figures along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tunefront.evaluators import Measurement, ratio_interval

from .trial import Trial

REMEASURED = (
    "latency_p90_ms",
    "latency_p99_ms",
    "peak_memory_mb",
    "model_memory_mb",
    "energy_per_item",
)
"""Figures of their own in every round: the median of the rounds stands, with their range."""
FOLLOWING = ("tokens_per_second", "cost_per_million_items", "cost_per_million_tokens", "latency_ms")
"""Figures that follow from the throughput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one finalist showed in one round.

    Attributes:
        ratios: Its throughput over the baseline's, a ratio a turn.
        alike: Its throughput over that of the baseline's model run like it (its batch size,
            threads, replicas), a ratio a turn; empty where the baseline itself runs like it, or
            where its model can't.
        figures: Figures by metric.
        quiet: Whether nobody was in the way in the turns that count.
    """

    ratios: Sequence[float]
    alike: Sequence[float] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    quiet: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ratios": list(self.ratios),
            "alike": list(self.alike),
            "figures": dict(self.figures),
            "quiet": self.quiet,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the rounds found.

    Attributes:
        rounds: For the number of every finalist that got through all of them, what each found.
        asked: The finalists, those that failed a round included.
    """

    rounds: Mapping[int, Sequence[Round]] = field(default_factory=dict)
    asked: Sequence[int] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rounds": {str(n): [r.to_dict() for r in found] for n, found in self.rounds.items()},
            "asked": list(self.asked),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Confirmation":
        """The inverse of `to_dict`; of nothing an empty one."""
        rounds = {
            int(number): [Round(**found) for found in rounds]
            for number, rounds in fields.get("rounds", {}).items()
        }
        return cls(rounds=rounds, asked=fields.get("asked", ()))

    def with_rounds(self, found: Mapping[int, Sequence[Round | None]]) -> "Confirmation":
        """With more rounds; who failed in any of its own has none."""
        whole = {number: [r for r in rounds if r] for number, rounds in found.items()}
        rounds = {n: [*self.rounds.get(n, ()), *whole[n]] for n in found if all(found[n])}
        return Confirmation(rounds={**self.rounds, **rounds}, asked=sorted({*self.asked, *found}))

    def speedup(self, number: int) -> Measurement | None:
        """Throughput against the baseline's, within turns; None where it was not confirmed."""
        return _ratio([found.ratios for found in self.rounds.get(number, ())])

    def speedup_alike(self, number: int) -> Measurement | None:
        """Throughput against the baseline's model run alike, within turns; None where unknown."""
        return _ratio([found.alike for found in self.rounds.get(number, ())])

    def doubt(self, number: int) -> str:
        """Why its rounds say less than they should; empty where most of them were quiet."""
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
    """The record with the confirmed figures in place.

    Speed stays at the level of trial 0, to which the trials that were not confirmed are held, too:
    what is confirmed are ratios, and a machine that has drifted since changes none.
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
    """Confirmed figures of a trial.

    Args:
        trial: The finalist.
        confirmation: What the rounds found.
        level: The baseline's throughput in its own trial, items/s; None where it has none: then
            nothing that follows from the throughput is confirmed.
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
    """The confirmed throughput; None where the trial or its rounds have none."""
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
    """Figures that follow from the throughput, with its relative interval."""
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
