"""Speed: requests in passes, warmed up until steady, repeated until the interval is narrow.

A pass runs every request once, so passes do the same work and can be compared; the interval is the
distribution-free one of the median pass. Nothing here knows processes or runtimes.
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.workloads.base import Array, Inputs

from .measurement import Measurement

SLOW_PASSES = 3
"""Passes that must do for a candidate so slow that three times the given time is up."""
Call = Callable[[Inputs], Sequence[Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How long and how well speed is measured.

    Attributes:
        seconds: Time for the timed passes; warm-up may take as long again.
        precision: Half-width of the 95 % interval of the median, relative, at which to stop.
        passes: Passes at the least.
        requests: Different requests in a pass.
    """

    seconds: float = 5.0
    precision: float = 0.03
    passes: int = 6
    requests: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What was timed.

    Attributes:
        request_s: Seconds of every request, shape `(passes, requests)`.
        warmup_s: Seconds until the candidate was steady.
        cpu_s: CPU seconds of this process over the timed passes.
    """

    request_s: npt.NDArray[np.float64]
    warmup_s: float
    cpu_s: float

    @property
    def pass_s(self) -> npt.NDArray[np.float64]:
        """Seconds of every pass, shape `(passes,)`."""
        totals: npt.NDArray[np.float64] = self.request_s.sum(axis=1)
        return totals


def time_requests(call: Call, requests: Sequence[Inputs], protocol: Protocol) -> Timing:
    """Warm up, then time passes until the protocol is satisfied."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        _warm_up(call, requests, protocol.seconds)
        warm = time.perf_counter()
        cpu = time.process_time()
        passes: list[list[float]] = []
        while not _enough(passes, time.perf_counter() - warm, protocol):
            passes.append(_one_pass(call, requests))
        return Timing(
            request_s=np.array(passes),
            warmup_s=warm - start,
            cpu_s=time.process_time() - cpu,
        )
    finally:
        gc.enable()


def _one_pass(call: Call, requests: Sequence[Inputs]) -> list[float]:
    seconds: list[float] = []
    for request in requests:
        start = time.perf_counter_ns()
        call(request)
        seconds.append((time.perf_counter_ns() - start) / 1e9)
    return seconds


def _warm_up(call: Call, requests: Sequence[Inputs], limit_s: float) -> None:
    """At least two passes, then until three in a row differ by less than 5 %, or the time is up."""
    start = time.perf_counter()
    recent: list[float] = []
    while True:
        recent = [*recent, sum(_one_pass(call, requests))][-3:]
        steady = len(recent) == 3 and max(recent) <= 1.05 * min(recent)
        late = time.perf_counter() - start > limit_s and len(recent) >= 2
        if steady or late:
            return


def _enough(passes: Sequence[Sequence[float]], elapsed_s: float, protocol: Protocol) -> bool:
    if elapsed_s >= 3 * protocol.seconds and len(passes) >= SLOW_PASSES:
        return True
    if len(passes) < protocol.passes:
        return False
    if elapsed_s >= protocol.seconds:
        return True
    totals = np.array(passes).sum(axis=1)
    median, low, high = median_interval(totals)
    return bool((high - low) / 2 <= protocol.precision * median)


def median_interval(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Median and the ends of its 95 % interval, from order statistics of shape `(n,)`.

    The ranks are those of the binomial distribution at one half (Hollander & Wolfe, Nonparametric
    Statistical Methods, 3.6); below six values the range stands in, with less than 95 %.
    """
    ordered = np.sort(values)
    count = len(ordered)
    rank, tail = 0, 0.5**count
    while rank + 1 < (count + 1) // 2:
        step = math.comb(count, rank + 1) * 0.5**count
        if tail + step > 0.025:
            break
        tail, rank = tail + step, rank + 1
    return float(np.median(ordered)), float(ordered[rank]), float(ordered[count - 1 - rank])


def items_of(request: Inputs) -> int:
    """Items in a request: its first dimension."""
    return len(next(iter(request.values())))


def tokens_of(request: Inputs) -> int | None:
    """Tokens in a request, padding left out; None where it holds no text."""
    mask = request.get("attention_mask")
    return None if mask is None else int(mask.sum())


def speed_of(timings: Sequence[Timing], requests: Sequence[Inputs]) -> dict[str, Measurement]:
    """The speed metrics of one candidate.

    Args:
        timings: One for every replica, timed at the same time.
        requests: What a pass ran.

    Throughputs of replicas add up, and so do the ends of their intervals; latencies are pooled.
    """
    pooled = np.concatenate([timing.request_s.ravel() for timing in timings]) * 1e3
    typical = np.concatenate([np.median(timing.request_s, axis=1) for timing in timings]) * 1e3
    median, low, high = median_interval(typical)
    items = sum(items_of(request) for request in requests)
    tokens = [tokens_of(request) for request in requests]
    measured = {
        "latency_ms": Measurement(value=median, unit="ms", low=low, high=high, samples=len(pooled)),
        "latency_p90_ms": _quantile(pooled, 0.90),
        "latency_p99_ms": _quantile(pooled, 0.99),
        "throughput": _rate(timings, items, "items/s"),
    }
    if all(count is not None for count in tokens):
        total = sum(count for count in tokens if count is not None)
        measured["tokens_per_second"] = _rate(timings, total, "tokens/s")
    return measured


def _rate(timings: Sequence[Timing], amount: float, unit: str) -> Measurement:
    ends = [median_interval(timing.pass_s) for timing in timings]
    return Measurement(
        value=sum(amount / median for median, _, _ in ends),
        unit=unit,
        low=sum(amount / high for _, _, high in ends),
        high=sum(amount / low for _, low, _ in ends),
        samples=sum(len(timing.pass_s) for timing in timings),
    )


def _quantile(values: npt.NDArray[np.float64], share: float) -> Measurement:
    """A quantile of `(n,)` milliseconds; its interval is the normal one of the binomial rank."""
    ordered = np.sort(values)
    count = len(ordered)
    spread = 1.96 * math.sqrt(count * share * (1 - share))
    low, high = (int(np.clip(count * share + s * spread, 0, count - 1)) for s in (-1, 1))
    return Measurement(
        value=float(np.quantile(ordered, share)),
        unit="ms",
        low=min(float(ordered[low]), float(np.quantile(ordered, share))),
        high=max(float(ordered[high]), float(np.quantile(ordered, share))),
        samples=count,
    )
