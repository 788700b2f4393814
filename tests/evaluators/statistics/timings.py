"""Made-up timings: a clock that only calls move, blocks and turns."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tunefront.evaluators.interfaces.builtin import interface_of
from tunefront.evaluators.interfaces.tensors import (
    Inputs,
)
from tunefront.evaluators.measures.machine import ProcessWatch
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.timing import (
    Block,
    Timing,
)

REQUESTS: list[Inputs] = [
    {"input_ids": np.ones((2, 4)), "attention_mask": np.array([[1, 1, 1, 0], [1, 1, 0, 0]])},
    {"input_ids": np.ones((2, 3)), "attention_mask": np.ones((2, 3))},
]


class Watch(ProcessWatch):
    """Stands in for the watch of CPU time: the clock's time is all the process's own."""

    def __init__(self, clock: "Clock") -> None:
        self.clock = clock
        self.start()

    def start(self) -> None:
        self.before = self.clock.now

    def stop(self) -> tuple[float, float]:
        return self.clock.now - self.before, 0.0


class Clock:
    """Time that passes only when something is called."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.now = 0.0
        self.seconds = itertools.cycle(seconds)
        self.calls = 0

    def call(self, _: Inputs) -> list[Array]:
        self.now += next(self.seconds)
        self.calls += 1
        return []


def block(
    seconds: float = 0.05, passes: int = 1, cpu_s: float | None = None, wait_s: float = 0.0
) -> Block:
    """Equal requests; the process computes all the time, and waits for no core."""
    request_s = np.full((passes, 2), seconds)
    own = float(request_s.sum()) if cpu_s is None else cpu_s
    return Block(request_s=request_s, cpu_s=own, wait_s=wait_s)


def sized(requests: Sequence[Inputs], turns: int) -> dict[str, Any]:
    """Items and tokens of a pass, as `Timing` takes them."""
    size = interface_of("tensors").size(requests)
    return {"items": size.items, "tokens": size.tokens and [size.tokens] * turns}


def timing_of(
    turns: Sequence[Block], threads: int | None = None, requests: Sequence[Inputs] = REQUESTS
) -> Timing:
    """A timing of one replica."""
    size = sized(requests, len(turns))
    return Timing(blocks=[[turn] for turn in turns], threads=threads, **size)


def of_seconds(seconds: Sequence[float]) -> Timing:
    """A turn for each of these request times."""
    return timing_of([block(each) for each in seconds])
