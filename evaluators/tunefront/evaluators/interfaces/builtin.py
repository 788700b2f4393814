"""The interfaces by name, and the requests of a workload as a folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import SpaceError, did_you_mean
from tunefront.spaces.metric import Metric

from .base import Interface, PassSize
from .generation import Generation
from .http import Http
from .load import Load
from .tensors import Tensors

AnyInterface = Interface[Any, Any, Any]
INTERFACES: Mapping[str, AnyInterface] = {
    one.name: one for one in (Tensors(), Generation(), Http())
}
INTERFACE_METRICS: tuple[Metric, ...] = tuple(
    metric for interface in INTERFACES.values() for metric in interface.metrics
)
"""The metrics of all interfaces; at most one of each interface is its reference rate."""
LOAD_FILE = "load.json"


def interface_of(name: str) -> AnyInterface:
    """Return the interface of that name.

    Raises:
        SpaceError: If there is none; the message suggests the nearest name.
    """
    if name not in INTERFACES:
        raise SpaceError(f"unknown interface {name!r}{did_you_mean(name, INTERFACES)}")
    return INTERFACES[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSet:
    """The requests that speed is measured with, at one load level.

    Attributes:
        interface: The interface of the requests.
        load: When they are sent.
        level: Name of the load level; empty if there is only one.
        requests: The requests.
        parts: Number of equal parts of the requests; a turn is timed with one of them.
        slo: Limits of single requests by metric, which goodput counts.
    """

    interface: AnyInterface
    load: Load
    level: str = ""
    requests: Sequence[Any]
    parts: int = 1
    slo: Mapping[str, float] = field(default_factory=dict)

    def load_of(self, turn: int) -> Load:
        """Return the load of a turn: the times of an open loop and the prompts differ by turn."""
        return replace(self.load, seed=turn)

    def part(self, turn: int) -> Sequence[Any]:
        """Return the requests of a turn."""
        length = len(self.requests) // self.parts
        start = turn % self.parts * length
        return self.requests[start : start + length]

    def size(self, turn: int) -> PassSize:
        """Return the size of a pass over the requests of a turn."""
        return self.interface.size(self.part(turn))


def write_request_sets(sets: Sequence[RequestSet], folder: Path) -> None:
    """Write the requests of all load levels to a folder; fewer ones are the first of the most."""
    most = max(sets, key=lambda one: len(one.requests))
    levels = [
        {"level": one.level, "load": asdict(one.load), "requests": len(one.requests)}
        for one in sets
    ]
    fields = {
        "interface": most.interface.name,
        "parts": most.parts,
        "slo": dict(most.slo),
        "levels": levels,
    }
    (folder / LOAD_FILE).write_text(json.dumps(fields) + "\n")
    most.interface.write(most.requests, folder)


def read_request_sets(folder: Path) -> dict[str, RequestSet]:
    """Read what `write_request_sets` wrote: the requests of each load level by its name."""
    fields = json.loads((folder / LOAD_FILE).read_text())
    interface = interface_of(fields["interface"])
    requests = interface.read(folder)
    return {
        one["level"]: RequestSet(
            interface=interface,
            load=Load(**{**one["load"], "times_s": tuple(one["load"]["times_s"])}),
            level=one["level"],
            requests=requests[: one["requests"]],
            parts=fields["parts"],
            slo=fields["slo"],
        )
        for one in fields["levels"]
    }


def highest_set(sets: Mapping[str, RequestSet]) -> RequestSet:
    """Return the requests of the highest load level, of those by its name."""
    return sets[max(sets, key=lambda level: float(level or 0))]


def timing_of(
    made: RequestSet, turns: Sequence[Sequence[Block]], threads: int | None = None
) -> Timing:
    """Return the timing of a candidate.

    Args:
        made: The requests that it was timed with.
        turns: Its blocks by turn, then by replica.
        threads: Threads of each replica; None if CPU time can't be the clock.
    """
    sizes = [made.size(part) for part in range(made.parts)]
    tokens = [size.tokens for size in sizes if size.tokens is not None]
    counted = [tokens[turn % made.parts] for turn in range(len(turns))] if tokens else None
    return Timing(
        blocks=tuple(turns),
        items=sizes[0].items,
        tokens=counted,
        parts=made.parts,
        threads=threads,
        open_loop=made.load.open_loop,
        slo=made.slo,
        level=made.level,
    )
