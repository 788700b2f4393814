"""The result of an evaluation: plain values that are passed between processes as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.workloads.outputs import Sample
from tunefront.spaces import FailureCause

from .clean_text import LONGEST_FAILURE, clean_text, clean_values

WAITING = "waiting"
"""Key in `Evaluation.seconds` of the waiting time, which belongs to no stage."""
MOST_LINES = 100
"""Maximum lines of a log; the last ones are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterimResult:
    """An interim result: the measurements after the first turns, and the early-stop decision.

    Attributes:
        speed: Throughput relative to the baseline's, or absolute if the baseline was not measured
            interleaved; None if the workload has no throughput.
        reason: Why the trial cannot reach the front; empty if it can.
        stopped: Whether the trial was stopped early. A control trial that cannot reach the front is
            run to its end.
    """

    speed: Measurement | None
    reason: str = ""
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of an evaluation; its texts are cleaned and shortened as in `clean_text`.

    Attributes:
        status: `ok`, or `failed` with `cause`, `stage`, `message` and `log`.
        measurements: Measurements by metric name; empty if it failed.
        items: Values of the primary metric for each item, and the items' weights, for paired
            comparisons; the weight is 0 if quality evaluation stopped before the item.
        outputs: Example outputs for a few items.
        relative: Throughput relative to the baseline's in the same turns; None if the baseline was
            not measured interleaved with it. At the highest load level if there are several.
        relative_at: The same at each of several load levels, by name; empty if there is one.
        interim: The interim result after the first turns; None if measuring ended without one.
        facts: Properties read back from the running candidate, and data on how it was measured.
        machine: State of the machine during measuring (`MachineState`, and of GPUs if used).
        warnings: Warnings: reasons to trust the measurements less; empty without any.
        blocks: Median request latency of each turn in ms, disturbed turns included.
        curves: Values that were reported while it ran, by metric: each a step and the value.
        distributions: Percentiles of times of single requests, by metric: each a percentage and the
            value.
        seconds: Seconds by stage, without waiting; `waiting` for cores in use and for a quiet
            machine; and `total`.
        reused: Names of the products that were found in the store.
        cause: Cause of the failure.
        stage: Stage of the pipeline in which it failed.
        message: Error message of the failure.
        log: Last lines of the log of the failed step.
    """

    status: Literal["ok", "failed"]
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    items: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    outputs: tuple[Sample, ...] = ()
    relative: Measurement | None = None
    relative_at: Mapping[str, Measurement] = field(default_factory=dict)
    interim: InterimResult | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    blocks: tuple[float, ...] = ()
    curves: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    distributions: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    reused: tuple[str, ...] = ()
    cause: FailureCause | None = None
    stage: str | None = None
    message: str = ""
    log: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Clean all texts here once, so that they can be recorded and shown everywhere."""
        cleaned = {
            "measurements": {clean_text(name): one for name, one in self.measurements.items()},
            "outputs": tuple(map(_clean_sample, self.outputs)),
            "interim": self.interim and _clean_interim(self.interim),
            "facts": clean_values(self.facts),
            "warnings": tuple(map(clean_text, self.warnings)),
            "curves": {clean_text(name): points for name, points in self.curves.items()},
            "message": clean_text(self.message, LONGEST_FAILURE),
            "log": tuple(map(clean_text, self.log[-MOST_LINES:])),
        }
        for name, value in cleaned.items():
            object.__setattr__(self, name, value)

    def ratio(self, level: str) -> Measurement | None:
        """Return `relative` at a load level; at the highest one if the name is empty."""
        return self.relative_at.get(level) if level else self.relative

    @property
    def own_s(self) -> float:
        """Total seconds without waiting; 0 if they are unknown."""
        return self.seconds.get("total", 0.0) - self.seconds.get(WAITING, 0.0)


def _clean_interim(interim: InterimResult) -> InterimResult:
    return replace(interim, reason=clean_text(interim.reason))


def _clean_sample(sample: Sample) -> Sample:
    return replace(
        sample,
        input=clean_text(sample.input),
        output=clean_text(sample.output),
        expected=clean_text(sample.expected),
        score_name=clean_text(sample.score_name),
    )
