"""Messages between an interleaved benchmark and the processes of its targets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration

MEASURE = "tunefront.evaluators.pipelines.tasks.measure:measure"
"""The function that each process of a target runs."""


def block_call(turn: int, level: str) -> str:
    """Return the call of a timed block: the number of its turn, and the load level if any."""
    return f"block {turn} {level}"


def read_block_call(word: str) -> tuple[int, str]:
    """Return turn and load level of a call by `block_call`."""
    _, turn, level = word.split(" ")
    return int(turn), level


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest:
    """What a process of a target measures.

    Attributes:
        workload: The workload, whose description has the extensions and declared choices.
        candidate: Folder of the candidate.
        configuration: Its complete configuration.
        requests: Folder of the requests.
        protocol: How speed is measured.
        address: Path of the turn channel's socket.
        place: Number of this process in the turn channel.
        inside: Functions of measures that read inside this process, as `module:function`.
    """

    workload: WorkloadSpec
    candidate: Path
    configuration: Configuration
    requests: Path
    protocol: Protocol
    address: str
    place: int
    inside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """Properties read back from the running candidate, after its turns."""

    facts: Mapping[str, Any] = field(default_factory=dict)
