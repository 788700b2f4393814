"""What every profiler is given and gives back, and how requests are timed without one."""

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
"""A trace of more would be large; of fewer, one that was disturbed would count too much."""
ProfiledCall = Callable[[Inputs], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileJob:
    """A candidate to profile.

    Attributes:
        folder: What was built.
        marked: The same built with a mark around every kernel; None where none is needed.
        record: What is known about it.
        threads: Threads of this process.
        requests: What a pass runs.
        seconds: How long to profile, about.
        trace: The Chrome trace to write.
        products: Operations of a request by kind, where the runtime can't tell.
        roofline: What the machine reaches.
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
class Found:
    """What a profiler found.

    Attributes:
        rows: Of the passes that count, all requests together.
        counted: How many requests that is.
        plain_ms: A request of every unprofiled pass.
        passes: Passes that were profiled.
        facts: What the candidate says it is.
        notes: What the reader must know.
    """

    rows: Sequence[ProfileRow]
    counted: int
    plain_ms: Sequence[float]
    passes: int
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


def timed_passes(call: ProfiledCall, requests: Sequence[Inputs], passes: int) -> list[float]:
    """Milliseconds of the mean request of every pass."""
    found: list[float] = []
    for _ in range(passes):
        start = time.perf_counter()
        for request in requests:
            call(request)
        found.append((time.perf_counter() - start) * 1e3 / len(requests))
    return found


def passes_in(seconds: float, request_ms: float, requests: int) -> int:
    """How many passes fit into that time."""
    wanted = seconds * 1e3 / max(request_ms * requests, 1e-6)
    return int(min(max(wanted, LEAST_PASSES), MOST_PASSES))


def middle(values: Sequence[float]) -> list[int]:
    """Where the middle half of the values is: what a disturbed pass does not touch."""
    order = np.argsort(values)
    cut = len(values) // 4
    return sorted(int(place) for place in order[cut : len(values) - cut])


def middle_mean(values: Sequence[float]) -> float:
    """The mean of the middle half."""
    return float(np.mean([values[place] for place in middle(values)]))
