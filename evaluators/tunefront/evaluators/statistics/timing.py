"""Timed blocks of a candidate, and the rates and latencies computed from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from .dependence import widening, within_parts
from .intervals import trimmed_interval
from .request_values import BlockValues, RequestValues

SLOW_TURNS = 3
"""Turns that suffice for a slow candidate, once three times `Protocol.seconds` has passed."""


CLEAN_WAIT = 0.05
"""Largest core-waiting time of an undisturbed block, summed over threads, as a share of its time.

More than this means that other processes used the cores; also of the share of a GPU that they used.
"""


CPU_BOUND = 0.03
"""Largest relative gap between CPU plus waiting time and wall time if CPU time is the clock."""


REQUEST = "request_s"
"""Name of the seconds of whole requests, among the samples of a block."""


ClockName = Literal["cpu", "wall"]
"""The clock of a time: CPU time of the process, or wall time."""


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class Block:
    """Consecutive timed passes over the requests.

    Attributes:
        request_s: Wall seconds of every request, shape `(passes, requests)`, in the order in which
            they were sent.
        cpu_s: CPU seconds of the process and its children during the block.
        wait_s: Seconds that their threads waited for a core, summed over threads.
        untimed: What ran before the timed requests in the same turn, in requests of the mean size.
        span_s: Wall seconds from the first request to the end of the last one, if requests
            overlap; None if they ran one after another.
        passes: Passes whose work was done in `span_s`, if that is not the timed ones: where
            requests overlap, others are in progress at its two ends.
        first: Place, among the requests, of the one that each pass began with.
        samples: Further values by name, which the interface reads; of every request in the shape
            `(passes, requests)` or, several of each, `(passes, requests, values)`.
        foreign: Share of the devices that it ran on, such as GPUs, that other processes used.
    """

    request_s: npt.NDArray[np.float64]
    cpu_s: float
    wait_s: float
    untimed: float = 0.0
    span_s: float | None = None
    passes: float | None = None
    first: int = 0
    samples: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    foreign: float = 0.0

    @cached_property
    def wall_s(self) -> float:
        """Wall seconds of the block."""
        return float(self.request_s.sum()) if self.span_s is None else self.span_s

    @property
    def pass_count(self) -> float:
        """Passes whose work was done in the block."""
        return len(self.request_s) if self.passes is None else self.passes

    @property
    def overlap(self) -> float:
        """Mean number of requests in progress; 1 if they ran one after another."""
        return 1.0 if self.span_s is None else float(self.request_s.mean()) * self.rate_per_s

    @property
    def rate_per_s(self) -> float:
        """Requests of the mean size in a second of wall time."""
        return float(self.pass_count * self.request_s.shape[1] / self.wall_s)

    @property
    def clean(self) -> bool:
        """Whether the block was undisturbed, by cores and devices.

        Core waiting is at most `CLEAN_WAIT` of its time, and others used at most that share of its
        devices.
        """
        return self.wait_s <= CLEAN_WAIT * self.wall_s and self.foreign <= CLEAN_WAIT


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class Timing:
    """The blocks of one candidate. Every property is computed once, on first access.

    Attributes:
        blocks: Blocks by turn, then by replica; the replicas of a turn ran at the same time. The
            sequence must not change afterwards.
        items: What the interface's rate counts, in a pass: items, or generated tokens.
        tokens: Tokens in a pass of each turn, without padding; None if requests contain no text.
        parts: Number of parts of the requests; turn k was timed with part k modulo this number.
        threads: Threads of each replica; None if CPU time can't be the clock. CPU time is used
            only for one thread and one replica.
        pace: The machine's pace in each turn, shape `(turns,)`, see `paces`; None if it is not
            known. Times of single requests are converted to those of the median turn.
        open_loop: Whether requests were sent at given times: the rate is theirs then, and shows no
            pace of the machine.
        slo: Limits that a request must keep to count for the interface's goodput, by metric.
        level: Name of the load level, if there are several.
    """

    blocks: Sequence[Sequence[Block]]
    items: int
    tokens: Sequence[int] | None = None
    parts: int = 1
    threads: int | None = None
    pace: npt.NDArray[np.float64] | None = None
    open_loop: bool = False
    slo: Mapping[str, float] = field(default_factory=dict)
    level: str = ""

    @cached_property
    def clock(self) -> ClockName:
        """The clock that rates and latencies use: `cpu` for single-threaded work, else `wall`.

        CPU time excludes the time during which other processes used the core (notes in
        docs/decisions.md).
        """
        if self.threads != 1 or any(len(turn) != 1 for turn in self.blocks):
            return "wall"
        gaps = [abs(b.cpu_s + b.wait_s - b.wall_s) / b.wall_s for turn in self.blocks for b in turn]
        return "cpu" if float(np.median(gaps)) <= CPU_BOUND else "wall"

    @cached_property
    def clean(self) -> npt.NDArray[np.bool_]:
        """Mask of the undisturbed turns, shape `(turns,)`."""
        return np.array([all(block.clean for block in turn) for turn in self.blocks], dtype=bool)

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Mask of the included turns, shape `(turns,)`; see `kept_turns`."""
        return kept_turns(self.clean)

    @cached_property
    def rate(self) -> npt.NDArray[np.float64]:
        """Passes per second of every turn, summed over replicas, shape `(turns,)`."""
        return np.array([sum(b.pass_count / self._own_s(b) for b in turn) for turn in self.blocks])

    @cached_property
    def wall_rate(self) -> npt.NDArray[np.float64]:
        """The same in passes per second of wall time, whatever the clock."""
        return np.array([sum(b.pass_count / b.wall_s for b in turn) for turn in self.blocks])

    @cached_property
    def latency_s(self) -> npt.NDArray[np.float64]:
        """Median request latency of every turn in seconds, shape `(turns,)`.

        The median over replicas of each block's median, converted to the clock in use.
        """
        return np.array(
            [
                float(np.median([np.median(b.request_s) * self._own_s(b) / b.wall_s for b in turn]))
                for turn in self.blocks
            ]
        )

    def independent_requests(self, share: float) -> int:
        """Return how many independent requests the timed ones are worth for a percentile.

        Args:
            share: Share of the requests below the percentile.
        """
        return self.request_values().independent_at(share)

    @cached_property
    def request_times(self) -> Sequence[npt.NDArray[np.float64]]:
        """Seconds of each different request in the included turns, by the clock in use.

        At the machine's pace in the median turn, if the paces are known.
        """
        return self.request_values().of_each_request()

    def turn_medians(self, name: str) -> npt.NDArray[np.float64]:
        """Return the median of a sample in seconds, by the clock in use, in every included turn.

        Args:
            name: Its name in `Block.samples`, or `REQUEST`.
        """
        return np.array(
            [
                np.nanmedian(np.concatenate([self._converted(b, name).ravel() for b in turn]))
                for turn, kept in zip(self.blocks, self.kept, strict=True)
                if kept
            ]
        )

    def request_values(self, name: str = REQUEST) -> RequestValues:
        """Return a sample of every request in the included turns; see `block_values`."""
        return RequestValues.of(self.block_values(name))

    def block_values(self, name: str) -> list[BlockValues]:
        """Return a sample of the requests of each block of the included turns, in seconds.

        By the clock in use, and at the machine's pace in the median turn if the paces are known.

        Args:
            name: Its name in `Block.samples`, or `REQUEST`.
        """
        pace = np.ones(len(self.blocks)) if self.pace is None else self.pace
        return [
            BlockValues(
                turn=number,
                part=number % self.parts,
                values=self._converted(block, name) * pace[number],
                overlap=block.overlap + self.open_loop,  # a request meets the others, and is one
                first=block.first,
            )
            for number, turn in enumerate(self.blocks)
            if self.kept[number]
            for block in turn
        ]

    def _converted(self, block: Block, name: str) -> npt.NDArray[np.float64]:
        values = block.request_s if name == REQUEST else block.samples[name]
        converted: npt.NDArray[np.float64] = values * (self._own_s(block) / block.wall_s)
        return converted

    def _own_s(self, block: Block) -> float:
        return block.cpu_s if self.clock == "cpu" else block.wall_s


def pair_clock(own: Timing, baseline: Timing) -> ClockName:
    """Return the clock of a ratio: CPU time only if it is the clock of both candidates.

    A load on the machine increases wall time and leaves CPU time as it is, so a ratio of the two
    would change with the load.
    """
    return "cpu" if own.clock == baseline.clock == "cpu" else "wall"


def undisturbed_turns(own: Timing, baseline: Timing | None = None) -> npt.NDArray[np.bool_]:
    """Return the mask of the turns whose times no other process changed, shape `(turns,)`.

    In a ratio by the wall clock a turn must be undisturbed for both candidates.
    """
    if baseline is None or pair_clock(own, baseline) == "cpu":
        return own.clean
    both: npt.NDArray[np.bool_] = own.clean & baseline.clean
    return both


def ratios(own: Timing, baseline: Timing) -> npt.NDArray[np.float64]:
    """Return the ratio of two candidates' rates in each turn that is included for both.

    It is a ratio of passes per second by the clock of the pair; a pass is one over each candidate's
    own requests. Differences between the parts of the sample are left out, see `within_parts`: of
    one batch size more is padding than of another, by the texts of the part.
    """
    if pair_clock(own, baseline) == "cpu":
        found = own.rate / baseline.rate
    else:
        found = own.wall_rate / baseline.wall_rate
    turns = np.flatnonzero(kept_turns(own.clean & baseline.clean))
    return within_parts(found[turns], (turns % own.parts).tolist())


def half_width(own: Timing, baseline: Timing | None = None) -> float:
    """Return the relative half-width of the 95 % interval of the rate.

    With `baseline`, that of the ratio to the rate of `baseline`.
    """
    rates = np.log(own.rate[own.kept] if baseline is None else ratios(own, baseline))
    middle, _, high = trimmed_interval(rates)
    return math.expm1((high - middle) * widening(rates))


def kept_turns(clean: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the mask of included turns, shape `(turns,)`.

    These are the undisturbed ones if they are at least `SLOW_TURNS` and a third, else all.
    """
    return clean if clean.sum() >= max(SLOW_TURNS, len(clean) // 3) else np.ones_like(clean)
