"""What evaluations share, and how one ended: plain values that travel as JSON."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tunefront.evaluators.measures.speed import Protocol
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.workloads.outputs import Sample
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, FailureCause, Value

EvaluationStage = Literal["prepare", "build", "quality", "measure"]
WAITING = "waiting"
"""The time of an evaluation that is no stage's."""
EVALUATION_STAGES: tuple[EvaluationStage, ...] = ("prepare", "build", "quality", "measure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds after which a step is ended as hung."""

    build_s: float = 1800.0
    quality_s: float = 1800.0
    measure_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all evaluations of a search share.

    Attributes:
        workload: The workload.
        fingerprint: The content of its model and data, from `describe_workload`.
        store: Root of the store.
        protocol: How speed is measured.
        timeouts: When steps are ended.
        build_cores: Cores that building and quality may use.
        memory_mb: Private memory that a process on the CPU may take; no limit where 0.
        baseline: The configuration that candidates are measured beside; none where empty.
        quality_limit: The most that quality may drop, in percent of the baseline's; judging ends
            early where that is decided. None where judging goes on to the last item.
        quality_matters: Whether quality is an objective too: then judging ends early only for
            candidates that break the limit.
    """

    workload: WorkloadSpec
    fingerprint: str
    store: str
    protocol: Protocol = field(default_factory=Protocol)
    timeouts: Timeouts = field(default_factory=Timeouts)
    build_cores: int = 1
    memory_mb: int = 0
    baseline: Mapping[str, Value] = field(default_factory=dict)
    quality_limit: float | None = None
    quality_matters: bool = True

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "baseline": dict(self.baseline)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Setting":
        """The inverse of `to_dict`."""
        return cls(
            workload=WorkloadSpec.from_dict(fields["workload"]),
            fingerprint=fields["fingerprint"],
            store=fields["store"],
            protocol=Protocol(**fields["protocol"]),
            timeouts=Timeouts(**fields["timeouts"]),
            build_cores=fields["build_cores"],
            memory_mb=fields["memory_mb"],
            baseline=fields["baseline"],
            quality_limit=fields["quality_limit"],
            quality_matters=fields["quality_matters"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLook:
    """What the first turns of a trial showed.

    Attributes:
        speed: The throughput against the baseline's, or by itself where that was not beside it;
            None where the workload has no throughput.
        hopeless: Why more turns were not worth it; empty where they were.
        ended: Whether there were no more: some go on whatever was seen, to check.
    """

    speed: Measurement | None
    hopeless: str = ""
    ended: bool = False

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "FirstLook":
        """The inverse of `asdict`."""
        speed = fields["speed"]
        return cls(**{**fields, "speed": None if speed is None else Measurement.from_dict(speed)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How an evaluation ended, and what it found.

    Attributes:
        status: `ok`, or `failed` with the fields below filled.
        measurements: Figures by metric; empty where it failed.
        items: The primary metric's parts of every item, and their weights, for comparisons on the
            same items; the weight is 0 where judging ended before.
        samples: What it answered to a few items, for people.
        relative: The throughput against the baseline's in the same turns; None where the baseline
            was not beside it.
        first_look: What the first turns showed; None where they were all.
        facts: What the running candidate said it is.
        machine: How quiet the machine was while it was measured.
        doubts: Why the figures are less trustworthy than they should be; empty where they are not.
        blocks: Milliseconds of the typical request, turn by turn, outliers included.
        seconds: Time by stage (what was found in the store took none), `waiting` for cores that
            others held and for a quiet machine, and the `total`.
        reused: Stages whose product was found in the store.
        cause: The failure's class.
        stage: Where it failed.
        message: What went wrong, one line.
        log: The last lines of the failed step's output.
    """

    status: Literal["ok", "failed"]
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    items: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    samples: tuple[Sample, ...] = ()
    relative: Measurement | None = None
    first_look: FirstLook | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    blocks: tuple[float, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    reused: tuple[str, ...] = ()
    cause: FailureCause | None = None
    stage: EvaluationStage | None = None
    message: str = ""
    log: tuple[str, ...] = ()

    @property
    def own_s(self) -> float:
        """Seconds without waiting; 0 where none are known."""
        return self.seconds.get("total", 0.0) - self.seconds.get(WAITING, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fields = asdict(self)
        fields["measurements"] = {n: m.to_dict() for n, m in self.measurements.items()}
        fields["relative"] = None if self.relative is None else self.relative.to_dict()
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Evaluation":
        """The inverse of `to_dict`."""
        measurements = {n: Measurement.from_dict(m) for n, m in fields["measurements"].items()}
        relative, first_look = fields.get("relative"), fields.get("first_look")
        return cls(
            **{
                **fields,
                "measurements": measurements,
                "samples": tuple(Sample(**sample) for sample in fields.get("samples", ())),
                "relative": relative and Measurement.from_dict(relative),
                "first_look": first_look and FirstLook.from_dict(first_look),
                "doubts": tuple(fields.get("doubts", ())),
                "blocks": tuple(fields.get("blocks", ())),
                "items": (tuple(fields["items"][0]), tuple(fields["items"][1])),
                "reused": tuple(fields["reused"]),
                "log": tuple(fields["log"]),
            }
        )


def memory_limit(setting: Setting, configuration: Configuration) -> int:
    """CUDA reserves far more addresses than it uses, so that a limit would only break it."""
    return 0 if configuration.get("device", "cpu") == "cuda" else setting.memory_mb


def devices() -> dict[str, str]:
    """The GPUs that this worker was given; fork servers may be older than the gift."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
