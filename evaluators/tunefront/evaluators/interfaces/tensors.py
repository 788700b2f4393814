"""Requests of named arrays: types, files, timed blocks."""

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

Inputs = Mapping[str, Array]
"""One request: an array for every input of the module, batch first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input of the module.

    Attributes:
        name: The argument's name in the module's `forward`.
        dims: A size for every dimension, or a name where it varies (`batch`, `sequence`).
    """

    name: str
    dims: tuple[str | int, ...]


Call = Callable[[Inputs], Sequence[Array]]


class CpuClock(Protocol):
    """Counts the CPU time of this process and its children (`measures/machine.py` has one)."""

    def start(self) -> None:
        """Count from here."""

    def stop(self) -> tuple[float, float]:
        """CPU seconds, and seconds that threads waited for a core, since `start`."""
        ...


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


def run_block(call: Call, requests: Sequence[Inputs], least_s: float, watch: CpuClock) -> Block:
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
    if timing.tokens is not None:
        rates = median_interval(timing.rate[kept] * timing.tokens)
        measured["tokens_per_second"] = _of(rates, "tokens/s", len(turns))
    return measured


def _of(ends: tuple[float, float, float], unit: str, samples: int) -> Measurement:
    value, low, high = ends
    return Measurement(value=value, unit=unit, low=low, high=high, samples=samples)


def read_requests(folder: Path) -> list[Inputs]:
    """The requests that `requests` wrote."""
    made: list[Inputs] = []
    for path in sorted(folder.glob("request_*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            made.append({name: arrays[name] for name in arrays.files})
    return made


def items_of(request: Inputs) -> int:
    """Items in a request: its first dimension."""
    return len(next(iter(request.values())))


def tokens_of(request: Inputs) -> int | None:
    """Tokens in a request, padding left out; None where it holds no text."""
    mask = request.get("attention_mask")
    return None if mask is None else int(mask.sum())


def size_of_pass(requests: Sequence[Inputs]) -> tuple[int, int | None]:
    """Items and tokens of all requests together; no tokens where one of them holds no text."""
    counts = [tokens_of(request) for request in requests]
    tokens = None if None in counts else sum(count for count in counts if count is not None)
    return sum(items_of(request) for request in requests), tokens
