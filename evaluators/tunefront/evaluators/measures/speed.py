"""Speed: blocks of passes, warmed up until steady, repeated until the interval is narrow.

A pass runs every request once; a block is some passes in a row, long enough for the clocks. What is
summarised are blocks, so that a candidate may be timed in turns with others. Nothing here knows
processes or runtimes.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.intervals import (
    median_interval,
    quantile_interval,
    trimmed_interval,
)
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.workloads.base import Inputs

from .machine import OwnWatch

SLOW_TURNS = 3
"""Turns that must do for a candidate so slow that three times the given time is up."""
CLEAN_WAIT = 0.05
"""Of a block's time its threads may have waited for a core; beyond, others were in the way."""
CPU_BOUND = 0.03
"""How far CPU time and waiting may miss the wall clock where the work is the process's own."""
Call = Callable[[Inputs], Sequence[Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How long and how well speed is measured.

    Attributes:
        seconds: Time for the timed turns; warm-up may take as long again.
        precision: Half-width of the 95 % interval of the median, relative, at which to stop.
        turns: Turns at the least.
        requests: Different requests in a pass.
        block_s: Seconds of a block at the least.
        wait_s: Seconds to wait, at the most, for a machine that others keep busy.
        reference: Whether the baseline is measured beside every candidate, in turns.
    """

    seconds: float = 5.0
    precision: float = 0.03
    turns: int = 7
    requests: int = 4
    block_s: float = 0.1
    wait_s: float = 60.0
    reference: bool = True


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


def warm_up(call: Call, requests: Sequence[Inputs], limit_s: float) -> float:
    """Run until steady: until two passes in a row differ by less than 5 %, or the time is up.

    Returns:
        Seconds taken; `limit_s` bounds them, save for the first two passes.
    """
    start = time.perf_counter()
    before = sum(_one_pass(call, requests))
    while True:
        now = sum(_one_pass(call, requests))
        elapsed = time.perf_counter() - start
        if abs(now - before) <= 0.05 * before or elapsed > limit_s:
            return elapsed
        before = now


def run_block(call: Call, requests: Sequence[Inputs], least_s: float, watch: OwnWatch) -> Block:
    """Time passes for `least_s` seconds, after one request that fetches the caches back."""
    call(requests[0])
    passes: list[list[float]] = []
    start = time.perf_counter()
    watch.start()
    while not passes or time.perf_counter() - start < least_s:
        passes.append(_one_pass(call, requests))
    cpu_s, wait_s = watch.stop()
    return Block(request_s=np.array(passes), cpu_s=cpu_s, wait_s=wait_s)


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the garbage collector, which would stop whatever is timed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _one_pass(call: Call, requests: Sequence[Inputs]) -> list[float]:
    seconds: list[float] = []
    for request in requests:
        start = time.perf_counter_ns()
        call(request)
        seconds.append((time.perf_counter_ns() - start) / 1e9)
    return seconds


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class Timing:
    """The blocks of one candidate. Every property is computed once, on first access.

    Attributes:
        blocks: By turn, then by replica; replicas of a turn ran at the same time. A sequence that
            does not change any more.
        requests: What a pass ran.
        threads: Threads of each replica; of one on the CPU its own CPU time can be the clock.
    """

    blocks: Sequence[Sequence[Block]]
    requests: Sequence[Inputs]
    threads: int | None = None

    @cached_property
    def items(self) -> int:
        """Items in a pass."""
        return sum(items_of(request) for request in self.requests)

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


def enough(
    timing: Timing, elapsed_s: float, protocol: Protocol, beside: Timing | None = None
) -> bool:
    """Whether the turns so far will do; with a reference beside it what counts is their ratio."""
    turns = len(timing.blocks)
    if elapsed_s >= 3 * protocol.seconds and turns >= SLOW_TURNS:
        return True
    if turns < protocol.turns or timing.clean.sum() < min(turns, protocol.turns):
        return False
    return elapsed_s >= protocol.seconds or half_width(timing, beside) <= protocol.precision


def time_alone(call: Call, requests: Sequence[Inputs], protocol: Protocol) -> Timing:
    """Warm up, then time blocks until the protocol is satisfied, with nobody to take turns with."""
    blocks: list[list[Block]] = []
    with no_collection():
        warm_up(call, requests, protocol.seconds)
        watch = OwnWatch()
        start = time.perf_counter()
        while not blocks or not enough(
            Timing(blocks=tuple(blocks), requests=requests), time.perf_counter() - start, protocol
        ):
            blocks.append([run_block(call, requests, protocol.block_s, watch)])
    return Timing(blocks=blocks, requests=requests)


def items_of(request: Inputs) -> int:
    """Items in a request: its first dimension."""
    return len(next(iter(request.values())))


def tokens_of(request: Inputs) -> int | None:
    """Tokens in a request, padding left out; None where it holds no text."""
    mask = request.get("attention_mask")
    return None if mask is None else int(mask.sum())


def speed_of(timing: Timing) -> dict[str, Measurement]:
    """The speed metrics of one candidate, from the turns that count.

    Percentiles are of single requests by the wall clock: tails are what a client waits for.
    """
    kept = timing.kept
    turns = [turn for turn, keep in zip(timing.blocks, kept, strict=True) if keep]
    pooled = np.concatenate([block.request_s.ravel() for turn in turns for block in turn]) * 1e3
    measured = {
        "latency_ms": _of(median_interval(timing.latency_s[kept] * 1e3), "ms", len(pooled)),
        "latency_p90_ms": _of(quantile_interval(pooled, 0.90), "ms", len(pooled)),
        "latency_p99_ms": _of(quantile_interval(pooled, 0.99), "ms", len(pooled)),
        "throughput": _of(median_interval(timing.rate[kept] * timing.items), "items/s", len(turns)),
    }
    counts = [tokens_of(request) for request in timing.requests]
    if all(count is not None for count in counts):
        total = sum(count for count in counts if count is not None)
        rates = median_interval(timing.rate[kept] * total)
        measured["tokens_per_second"] = _of(rates, "tokens/s", len(turns))
    return measured


def _of(ends: tuple[float, float, float], unit: str, samples: int) -> Measurement:
    value, low, high = ends
    return Measurement(value=value, unit=unit, low=low, high=high, samples=samples)
