"""Timed blocks of a candidate, and what they say of its speed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .intervals import trimmed_interval

SLOW_TURNS = 3
"""Turns that must do for a candidate so slow that three times the given time is up."""


CLEAN_WAIT = 0.05
"""Of a block's time its threads may have waited for a core; beyond, others were in the way."""


CPU_BOUND = 0.03
"""How far CPU time and waiting may miss the wall clock where the work is the process's own."""


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class Block:
    """Some passes in a row, timed.

    Attributes:
        request_s: Wall seconds of every request, shape `(passes, requests)`.
        cpu_s: CPU seconds of the process and its children over the block.
        wait_s: Seconds that their threads waited for a core, summed.
    """

    request_s: npt.NDArray[np.float64]
    cpu_s: float
    wait_s: float

    @cached_property
    def wall_s(self) -> float:
        """Wall seconds of the block."""
        return float(self.request_s.sum())

    @property
    def clean(self) -> bool:
        """Whether nobody was in the way."""
        return self.wait_s <= CLEAN_WAIT * self.wall_s

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "request_s": self.request_s.tolist(),
            "cpu_s": self.cpu_s,
            "wait_s": self.wait_s,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Block":
        """The inverse of `to_dict`."""
        return cls(
            request_s=np.array(fields["request_s"], dtype=np.float64),
            cpu_s=float(fields["cpu_s"]),
            wait_s=float(fields["wait_s"]),
        )


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class Timing:
    """The blocks of one candidate. Every property is computed once, on first access.

    Attributes:
        blocks: By turn, then by replica; replicas of a turn ran at the same time. A sequence that
            does not change any more.
        items: Items in a pass.
        tokens: Tokens in a pass, without padding; None where requests hold no text.
        threads: Threads of each replica; of one on the CPU its own CPU time can be the clock.
    """

    blocks: Sequence[Sequence[Block]]
    items: int
    tokens: int | None = None
    threads: int | None = None

    @cached_property
    def clock(self) -> str:
        """`cpu` where the work is one thread's own, else `wall`: what the figures are taken from.

        CPU time leaves out the time that other processes took the core away (notes in
        docs/decisions.md).
        """
        if self.threads != 1 or any(len(turn) != 1 for turn in self.blocks):
            return "wall"
        gaps = [abs(b.cpu_s + b.wait_s - b.wall_s) / b.wall_s for turn in self.blocks for b in turn]
        return "cpu" if float(np.median(gaps)) <= CPU_BOUND else "wall"

    @cached_property
    def clean(self) -> npt.NDArray[np.bool_]:
        """The turns in which nobody was in the way, shape `(turns,)`."""
        return np.array([all(block.clean for block in turn) for turn in self.blocks], dtype=bool)

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """The turns that count, shape `(turns,)`: the clean ones where they are enough."""
        return kept_turns(self.clean)

    @cached_property
    def rate(self) -> npt.NDArray[np.float64]:
        """Passes a second of every turn, replicas together, shape `(turns,)`."""
        return np.array(
            [sum(len(b.request_s) / self._own_s(b) for b in turn) for turn in self.blocks]
        )

    @cached_property
    def latency_s(self) -> npt.NDArray[np.float64]:
        """Seconds of the typical request of every turn, shape `(turns,)`."""
        return np.array(
            [
                float(np.median([np.median(b.request_s) * self._own_s(b) / b.wall_s for b in turn]))
                for turn in self.blocks
            ]
        )

    def _own_s(self, block: Block) -> float:
        return block.cpu_s if self.clock == "cpu" else block.wall_s


def ratios(own: Timing, beside: Timing) -> npt.NDArray[np.float64]:
    """The rate against another candidate's, turn by turn: the turns that count for both.

    Passes are of each candidate's own requests: the ratio is one of passes a second.
    """
    return (own.rate / beside.rate)[kept_turns(own.clean & beside.clean)]


def half_width(own: Timing, beside: Timing | None = None) -> float:
    """Of the 95 % interval of the rate, or of its ratio to another's: relative."""
    rates = own.rate[own.kept] if beside is None else ratios(own, beside)
    middle, _, high = trimmed_interval(np.log(rates))
    return math.expm1(high - middle)


def kept_turns(clean: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The turns that count, shape `(turns,)`: the clean ones where they are enough, else all."""
    return clean if clean.sum() >= max(SLOW_TURNS, len(clean) // 3) else np.ones_like(clean)
