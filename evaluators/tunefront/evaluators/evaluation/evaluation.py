"""How an evaluation ended, and what it found: plain values that travel as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.workloads.outputs import Sample
from tunefront.spaces import FailureCause

EvaluationStage = Literal["prepare", "build", "quality", "measure"]


WAITING = "waiting"
"""The time of an evaluation that is no stage's."""


EVALUATION_STAGES: tuple[EvaluationStage, ...] = ("prepare", "build", "quality", "measure")


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
