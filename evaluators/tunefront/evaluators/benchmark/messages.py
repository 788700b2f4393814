"""Messages between an interleaved benchmark and the processes of its targets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.statistics.timing import Block
from tunefront.spaces import Configuration

MEASURE = "tunefront.evaluators.pipelines.tasks.measure:measure"
"""The function that each process of a target runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest:
    """What a process of a target measures.

    Attributes:
        candidate: Folder of the candidate.
        configuration: Its complete configuration.
        requests: Folder of the requests.
        protocol: How speed is measured.
        address: Path of the turn channel's socket.
        place: Number of this process in the turn channel.
    """

    candidate: Path
    configuration: Configuration
    requests: Path
    protocol: Protocol
    address: str
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateState:
    """State of one process of a target.

    Attributes:
        load_s: Seconds that opening the candidate took.
        idle_mb: Resident memory before it was opened, in MB.
        peak_mb: Peak resident memory so far, in MB.
        weights_mb: Size of the candidate's files in MB.
        facts: Properties read back from the running candidate.
        gpu: GPU memory in MB by name; empty if no GPU is used.
        warmup_s: Seconds of warm-up.
    """

    load_s: float
    idle_mb: float
    peak_mb: float
    weights_mb: float
    facts: Mapping[str, Any]
    gpu: Mapping[str, float] = field(default_factory=dict)
    warmup_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """A block, and the CPU seconds that the process used since its previous reply."""

    block: Block
    spent_s: float
