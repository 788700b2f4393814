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
from .load import Load
from .tensors import Tensors

AnyInterface = Interface[Any, Any, Any]
INTERFACES: Mapping[str, AnyInterface] = {one.name: one for one in (Tensors(), Generation())}
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
    """The requests that speed is measured with.

    Attributes:
        interface: The interface of the requests.
        load: When they are sent.
        requests: The requests.
        parts: Number of equal parts of the requests; a turn is timed with one of them.
        slo: Limits of single requests by metric, which goodput counts.
    """

    interface: AnyInterface
    load: Load
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

    def write(self, folder: Path) -> None:
        """Write the requests and their load to a folder."""
        fields = {
            "interface": self.interface.name,
            "parts": self.parts,
            "slo": dict(self.slo),
            "load": asdict(self.load),
        }
        (folder / LOAD_FILE).write_text(json.dumps(fields) + "\n")
        self.interface.write(self.requests, folder)

    @classmethod
    def read(cls, folder: Path) -> "RequestSet":
        """Read the requests that `write` wrote."""
        fields = json.loads((folder / LOAD_FILE).read_text())
        interface = interface_of(fields["interface"])
        return cls(
            interface=interface,
            load=Load(**fields["load"]),
            requests=interface.read(folder),
            parts=fields["parts"],
            slo=fields["slo"],
        )


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
    )
