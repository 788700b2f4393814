"""An interleaved run as an evaluation: measurements, ratio to the baseline, warnings."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tunefront.evaluators.evaluation.evaluation import Evaluation, InterimResult
from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.interfaces.builtin import INTERFACE_METRICS
from tunefront.evaluators.measures.energy import MOST_FOREIGN
from tunefront.evaluators.measures.gpu_state import CLOCK, FOREIGN, HEAT, POWER
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.dependence import autocorrelation, widening
from tunefront.evaluators.statistics.formatting import number_text, percent_text
from tunefront.evaluators.statistics.intervals import ratio_interval
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import (
    CLEAN_WAIT,
    Timing,
    half_width,
    kept_turns,
    pair_clock,
    ratios,
    undisturbed_turns,
)
from tunefront.spaces import EvaluationError
from tunefront.spaces.metric import LEVEL_SIGN, at_level, reference_rate

from .gpu_checks import GPUS_SHARED
from .interleaved import InterleavedRun
from .participant import named
from .target import TargetResult

MOST_STEAL = 0.05
"""Share of CPU time taken by the hypervisor above which a warning is recorded."""
MOST_THROTTLED = 0.10
"""Difference in the share of time with a reduced clock above which a warning is recorded."""
MOST_CLOCK_CHANGE = 0.05
"""Relative difference of the two sides' GPU clocks above which a warning is recorded."""
MOST_CORRELATION = 0.5
"""Correlation of consecutive turns above which a warning is recorded."""


class InterimRule(ABC):
    """An early-stop rule."""

    speed_first: bool = False
    """Whether speed is measured before quality is evaluated, since that takes longer."""

    @abstractmethod
    def interim_result(self, found: Evaluation) -> InterimResult:
        """Return the decision on the evaluation of the first turns.

        Args:
            found: The evaluation; without quality if that is not known yet.
        """


class NoEarlyStop(InterimRule):
    """An early-stop rule that never ends a trial."""

    def interim_result(self, found: Evaluation) -> InterimResult:
        """Return a decision to continue."""
        return InterimResult(speed=speed_against(found))


NO_EARLY_STOP = NoEarlyStop()


def measured(protocol: Protocol, run: InterleavedRun) -> Evaluation:
    """Return the evaluation of the first target; the next one that succeeded is its baseline.

    Raises:
        EvaluationError: With its cause, if the first target failed.
    """
    own, *others = run.target_results
    if isinstance(own, EvaluationError):
        raise own
    baseline = next((other for other in others if isinstance(other, TargetResult)), None)
    beside = baseline.timing if baseline else None
    clock = {"ratio_clock": pair_clock(own.timing, beside)} if beside else {}
    at_levels = relative_throughputs(own, baseline) if baseline else {}
    return Evaluation(
        status="ok",
        measurements=own.measurements,
        relative=at_levels.get(own.timing.level),
        relative_at=at_levels if own.lower else {},
        facts={**own.facts, **clock, "waited_s": run.waited_s},
        machine={**run.machine, **own.state},
        warnings=(
            *speed_warnings(own, protocol, baseline),
            *machine_warnings(run.machine),
            *gpu_warnings(own.state, baseline.state if baseline else None),
            *own.warnings,
        ),
        blocks=digits(own.timing.latency_s * 1e3),
        distributions=own.distributions,
    )


def speed_against(evaluation: Evaluation) -> Measurement | None:
    """Return the reference rate relative to the baseline's, or absolute without a baseline.

    None if no such rate was measured.
    """
    parts = [name.partition(LEVEL_SIGN) for name in evaluation.measurements]
    rate = reference_rate(
        at_level(metric, level)
        for plain, _, level in parts
        for metric in INTERFACE_METRICS
        if metric.name == plain
    )
    return evaluation.relative or (evaluation.measurements[rate.name] if rate else None)


def relative_throughputs(own: TargetResult, baseline: TargetResult) -> dict[str, Measurement]:
    """Return the ratio of two targets' throughputs at every load level."""
    return {
        level: relative_throughput(timing, baseline.timings[level])
        for level, timing in own.timings.items()
    }


def relative_throughput(own: Timing, baseline: Timing) -> Measurement:
    """Return the ratio of two throughputs (items per second) in the same turns."""
    seen = ratios(own, baseline)
    scale = own.items / baseline.items
    wider = widening(np.log(seen))
    middle, low, high = ratio_interval([seen])
    value = scale * middle
    low, high = (value * (end / middle) ** wider for end in (low, high))
    return Measurement(value=value, unit="x", low=low, high=high, samples=len(seen))


def speed_warnings(
    own: TargetResult, protocol: Protocol, baseline: TargetResult | None
) -> list[str]:
    """Return the warnings about the timings at all load levels, see `warnings_of`."""
    beside = {} if baseline is None else baseline.timings
    return [
        text
        for level, timing in own.timings.items()
        for text in named(timing, warnings_of(timing, protocol, beside.get(level)))
    ]


def warnings_of(timing: Timing, protocol: Protocol, baseline: Timing | None) -> tuple[str, ...]:
    """Return warnings about a timing: wide interval, disturbed or dependent turns, few requests.

    Args:
        timing: Timing of the candidate.
        protocol: The measurement protocol.
        baseline: Timing of the baseline in the same turns, or None.
    """
    found: list[str] = []
    seen = timing.rate[timing.kept] if baseline is None else ratios(timing, baseline)
    half = half_width(timing, baseline)
    if half > 1.5 * protocol.precision:
        wanted = percent_text(protocol.precision)
        found.append(f"interval ± {percent_text(half, decimals=0)}, wanted ± {wanted}")
    clean = undisturbed_turns(timing, baseline)
    if not clean[kept_turns(clean)].all():
        disturbed = len(clean) - int(clean.sum())
        sides = [timing] if baseline is None else [timing, baseline]
        shared = any(b.foreign > CLEAN_WAIT for side in sides for turn in side.blocks for b in turn)
        used = "cores or the GPU" if shared else "cores"
        found.append(f"other processes used the {used} in {disturbed} of {len(clean)} turns")
    share, needed = protocol.percentile(timing.level), protocol.requests_needed(timing.level)
    independent = timing.independent_requests(share) if needed else 0
    if independent < needed:
        found.append(
            f"{independent} independent requests were timed; the "
            f"{percent_text(share)} percentile takes {needed}"
        )
    correlation = autocorrelation(np.log(seen))
    if correlation > MOST_CORRELATION:
        shown = number_text(correlation)
        found.append(f"turns are not independent: the correlation of consecutive ones is {shown}")
    return tuple(found)


def machine_warnings(machine: Mapping[str, float]) -> tuple[str, ...]:
    """Return warnings about the state of the machine during the turns: steal, GPU use."""
    found: list[str] = []
    if machine.get("steal", 0.0) > MOST_STEAL:
        found.append(
            f"the hypervisor took {percent_text(machine['steal'], decimals=0)} of the time"
        )
    if machine.get(GPUS_SHARED, 0):
        found.append("another process used the GPU")
    return tuple(found)


def gpu_warnings(own: Mapping[str, float], beside: Mapping[str, float] | None) -> tuple[str, ...]:
    """Return warnings about the GPUs of a candidate: a clock that was held down, other processes.

    A GPU at its limit of power is normal in large products. There is a warning where the two sides
    of a ratio differ in it. Without a baseline there is one for heat, which depends on what ran
    before.

    Args:
        own: State of the candidate's GPUs in its turns.
        beside: State of the baseline's in the same turns; None if it was not measured.
    """
    found: list[str] = []
    for name, cause in ((HEAT, "heat"), (POWER, "power")):
        share, other = own.get(name), None if beside is None else beside.get(name)
        if share is None or other is None and cause == "power":
            continue
        if abs(share - (other or 0.0)) > MOST_THROTTLED:
            against = "" if other is None else f", and in {_percent(other)} of the baseline's"
            found.append(
                f"the GPU's clock was held down for {cause} in {_percent(share)} of its turns' time"
                f"{against}"
            )
    clock, usual = own.get(CLOCK), (beside or {}).get(CLOCK)
    if not found and clock and usual and abs(clock / usual - 1) > MOST_CLOCK_CHANGE:
        found.append(
            f"the GPU's clock was {clock:,.0f} MHz in its turns and {usual:,.0f} MHz in the "
            "baseline's"
        )
    if (foreign := own.get(FOREIGN, 0.0)) > MOST_FOREIGN:
        found.append(f"other processes used {_percent(foreign)} of the GPU")
    return tuple(found)


def _percent(share: float) -> str:
    return percent_text(share, decimals=0)


def digits(values: Array) -> tuple[float, ...]:
    """Round to seven significant digits: enough for comparisons, and short in the record."""
    return tuple(float(f"{value:.7g}") for value in values)


class InterimMonitor:
    """An early-stop monitor: applies an early-stop rule to the interim result and keeps both.

    Args:
        found: Returns the evaluation of an interleaved run.
        interim_rule: The early-stop rule.
    """

    def __init__(
        self, found: Callable[[InterleavedRun], Evaluation], interim_rule: InterimRule
    ) -> None:
        self._found = found
        self._interim_rule = interim_rule
        self._seen: InterimResult | None = None

    def ends(self, run: InterleavedRun) -> bool:
        """Return whether to stop early, given the interim run."""
        self._seen = self._interim_rule.interim_result(self._found(run))
        return self._seen.stopped

    def with_interim(self, found: Evaluation) -> Evaluation:
        """Return the final evaluation with the interim result added.

        If the trial was stopped early, the reason for that replaces the warnings.
        """
        seen = self._seen
        warnings = (seen.reason,) if seen is not None and seen.stopped else found.warnings
        return replace(found, interim=seen, warnings=warnings)
