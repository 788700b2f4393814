"""The interface `tensors`: requests of named arrays, their files, and timed blocks."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.intervals import (
    median_interval,
    quantile_interval,
)
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces.metric import Metric

LATENCY = Metric(
    name="latency_ms",
    unit="ms",
    direction="minimize",
    summary="median time of one request (one batch)",
    kind="speed",
    follows="time",
)
LATENCY_P90 = Metric(
    name="latency_p90_ms",
    unit="ms",
    direction="minimize",
    summary="time that 90 % of the requests stay under",
    kind="speed",
)
LATENCY_P99 = Metric(
    name="latency_p99_ms",
    unit="ms",
    direction="minimize",
    summary="time that 99 % of the requests stay under",
    kind="speed",
)
THROUGHPUT = Metric(
    name="throughput",
    unit="items/s",
    direction="maximize",
    summary="items finished in a second, over all replicas",
    kind="speed",
    follows="rate",
    reference_rate=True,
)
TOKENS_PER_SECOND = Metric(
    name="tokens_per_second",
    unit="tokens/s",
    direction="maximize",
    summary="tokens read in a second, over all replicas; text tasks only",
    kind="speed",
    follows="rate",
)
TENSOR_METRICS = (LATENCY, LATENCY_P90, LATENCY_P99, THROUGHPUT, TOKENS_PER_SECOND)
"""Metrics of the interface, in the order of their listings."""

Inputs = Mapping[str, Array]
"""One request: an array for every input of the module; the first dimension is the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input of the module.

    Attributes:
        name: The argument's name in the module's `forward`.
        dims: For each dimension its size, or a name if the size varies (`batch`, `sequence`).
    """

    name: str
    dims: tuple[str | int, ...]


Call = Callable[[Inputs], Sequence[Array]]


class CpuClock(Protocol):
    """CPU time of this process and its children (`ProcessWatch` of measures/machine.py is one)."""

    def start(self) -> None:
        """Start counting."""

    def stop(self) -> tuple[float, float]:
        """Return CPU seconds and the seconds that threads waited for a core since `start`."""
        ...


def warm_up(call: Call, requests: Sequence[Inputs], limit_s: float) -> float:
    """Run passes until two in a row differ by at most 5 %, or until `limit_s` has passed.

    Returns:
        Seconds taken. At least two passes run, and the limit is checked between passes only.
    """
    start = time.perf_counter()
    before = sum(_one_pass(call, requests))
    while True:
        now = sum(_one_pass(call, requests))
        elapsed = time.perf_counter() - start
        if abs(now - before) <= 0.05 * before or elapsed > limit_s:
            return elapsed
        before = now


def run_block(call: Call, requests: Sequence[Inputs], least_s: float, watch: CpuClock) -> Block:
    """Time whole passes for at least `least_s` seconds, after one untimed request.

    The untimed request refills the CPU caches, which other candidates' turns have emptied.
    """
    call(requests[0])
    passes: list[list[float]] = []
    start = time.perf_counter()
    watch.start()
    while not passes or time.perf_counter() - start < least_s:
        passes.append(_one_pass(call, requests))
    cpu_s, wait_s = watch.stop()
    return Block(request_s=np.array(passes), cpu_s=cpu_s, wait_s=wait_s, untimed=1)


@contextmanager
def no_collection() -> Iterator[None]:
    """Disable the garbage collector, whose pauses would distort timings."""
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


def speed_of(timing: Timing) -> dict[str, Measurement]:
    """Return the speed metrics of one candidate, from its included turns.

    The percentiles are of single requests in wall time, because that is what a client waits.
    """
    kept = timing.kept
    turns = [turn for turn, keep in zip(timing.blocks, kept, strict=True) if keep]
    pooled = np.concatenate([block.request_s.ravel() for turn in turns for block in turn]) * 1e3
    measured = {
        LATENCY: (median_interval(timing.latency_s[kept] * 1e3), len(pooled)),
        LATENCY_P90: (quantile_interval(pooled, 0.90), len(pooled)),
        LATENCY_P99: (quantile_interval(pooled, 0.99), len(pooled)),
        THROUGHPUT: (median_interval(timing.rate[kept] * timing.items), len(turns)),
    }
    if timing.tokens is not None:
        measured[TOKENS_PER_SECOND] = (
            median_interval(timing.rate[kept] * timing.tokens),
            len(turns),
        )
    return {
        metric.name: Measurement(value=value, unit=metric.unit, low=low, high=high, samples=samples)
        for metric, ((value, low, high), samples) in measured.items()
    }


def read_requests(folder: Path) -> list[Inputs]:
    """Read the requests (`request_*.npz`) in a folder, in the order of their names."""
    made: list[Inputs] = []
    for path in sorted(folder.glob("request_*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            made.append({name: arrays[name] for name in arrays.files})
    return made


def items_of(request: Inputs) -> int:
    """Return the number of items in a request: the size of its first dimension."""
    return len(next(iter(request.values())))


def tokens_of(request: Inputs) -> int | None:
    """Return the tokens in a request without padding; None if it has no `attention_mask`."""
    mask = request.get("attention_mask")
    return None if mask is None else int(mask.sum())


def size_of_pass(requests: Sequence[Inputs]) -> tuple[int, int | None]:
    """Return the items and tokens of all requests; tokens are None if one request has no text."""
    counts = [tokens_of(request) for request in requests]
    tokens = None if None in counts else sum(count for count in counts if count is not None)
    return sum(items_of(request) for request in requests), tokens
