"""Input and output of a profiler, and the timing of requests without one."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.tensors import Inputs

from .profile import ProfileRow, Roofline

LEAST_PASSES, MOST_PASSES = 3, 24
"""Limits of the number of passes: more make large traces, fewer are sensitive to outliers."""
ProfiledCall = Callable[[Inputs], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileJob:
    """A candidate to profile.

    Attributes:
        folder: Folder of the candidate.
        marked: A build of the same candidate that records every kernel in the trace; None if not
            needed.
        record: Record of the candidate.
        threads: Threads of this process.
        requests: Requests of one pass.
        seconds: Approximate duration of profiling.
        trace: Path of the Chrome trace to write.
        products: Operations (FLOPs) per request by kind, for runtimes that do not report them.
        roofline: Measured peaks of the machine.
    """

    folder: Path
    marked: Path | None
    record: CandidateRecord
    threads: int
    requests: Sequence[Inputs]
    seconds: float
    trace: Path
    products: Mapping[str, float]
    roofline: Roofline


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilerResult:
    """The findings of a profiler.

    Attributes:
        rows: Rows of the passes included, over all requests.
        counted: Number of requests in `rows`.
        plain_ms: Mean request time in ms of every unprofiled pass.
        passes: Number of profiled passes.
        facts: Read-back of the candidate.
        notes: Notes for the reader of the profile.
    """

    rows: Sequence[ProfileRow]
    counted: int
    plain_ms: Sequence[float]
    passes: int
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


def timed_passes(call: ProfiledCall, requests: Sequence[Inputs], passes: int) -> list[float]:
    """Return the mean request time of every pass in ms."""
    found: list[float] = []
    for _ in range(passes):
        start = time.perf_counter()
        for request in requests:
            call(request)
        found.append((time.perf_counter() - start) * 1e3 / len(requests))
    return found


def passes_in(seconds: float, request_ms: float, requests: int) -> int:
    """Return how many passes fit into `seconds`, from 3 to 24."""
    wanted = seconds * 1e3 / max(request_ms * requests, 1e-6)
    return int(min(max(wanted, LEAST_PASSES), MOST_PASSES))


def middle(values: Sequence[float]) -> list[int]:
    """Return the indices of the middle half of the values, to exclude disturbed passes."""
    order = np.argsort(values)
    cut = len(values) // 4
    return sorted(int(place) for place in order[cut : len(values) - cut])


def middle_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half (interquartile mean)."""
    return float(np.mean([values[place] for place in middle(values)]))
