"""The load generator against an endpoint with known times: 50 streams of 20 tokens a second."""

import heapq
import time
from collections.abc import Sequence

import numpy as np
import pytest

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    TokenEvent,
)
from tunefront.evaluators.interfaces.generation.metrics import generation_measurements
from tunefront.evaluators.interfaces.generation.requests import distinct_requests
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.timed_block import GENERATOR_CPU, timed_block
from tunefront.evaluators.statistics.timing import Block, Timing

from .simulated_engine import Watch, requests_of

FIRST_S, EACH_S = 0.1, 0.05
STREAMS, TOKENS = 50, 16


class Streams(GenerationEndpoint):
    """Sends the first token of a request after `FIRST_S`, and one every `EACH_S` from then on."""

    def __init__(self) -> None:
        self.due: list[tuple[float, int, int]] = []
        self.count = 0
        self.cancelled: set[int] = set()
        self.received_s: dict[int, float] = {}
        self.sent_s: dict[int, list[float]] = {}

    def submit(self, request: GenerationRequest) -> int:
        self.count += 1
        self.received_s[self.count] = time.perf_counter()
        self.sent_s[self.count] = []
        first = self.received_s[self.count] + FIRST_S
        heapq.heappush(self.due, (first, self.count, request.new_tokens))
        return self.count

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        if self.due:
            time.sleep(min(timeout_s, max(0.0, self.due[0][0] - time.perf_counter())))
        events: list[TokenEvent] = []
        now = time.perf_counter()
        while self.due and self.due[0][0] <= now:
            due, number, left = heapq.heappop(self.due)
            end = left == 1 or number in self.cancelled
            events.append(TokenEvent(request=number, tokens=(left,), arrival_s=now, end=end))
            self.sent_s[number].append(now)
            if not end:
                heapq.heappush(self.due, (due + EACH_S, number, left - 1))
        return events

    def cancel(self, request: int) -> None:
        self.cancelled.add(request)

    def facts(self) -> Facts:
        return {}

    def processes(self) -> None:
        return None


class FirstTimed(Watch):
    """Notes the first timed request of a block."""

    number = 0

    def __init__(self, endpoint: Streams) -> None:
        self._endpoint = endpoint

    def start(self) -> None:
        super().start()
        self.number = self._endpoint.count + 1


def measured(endpoint: Streams, watch: Watch | None = None) -> tuple[Block, float, float]:
    """A block of 100 requests; the medians of the times to the first and between tokens."""
    made = requests_of([TOKENS] * 2 * STREAMS)
    block = timed_block(
        endpoint, made, Load(concurrency=STREAMS), 0.0, watch or Watch(), distinct_requests
    )
    found = generation_measurements(Timing(blocks=[[block]], items=TOKENS * len(made)))
    return block, found["ttft_ms"].value / 1e3, found["tpot_ms"].value / 1e3


def test_times_are_exact_by_a_counted_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def advance(seconds: float) -> None:
        now[0] += seconds + 1e-12  # past the rounding of the sum

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", advance)
    block, first_s, each_s = measured(Streams())
    assert first_s == pytest.approx(FIRST_S, abs=1e-6)
    assert each_s == pytest.approx(EACH_S, abs=1e-6)
    assert block.rate_per_s == pytest.approx(STREAMS / (FIRST_S + EACH_S * (TOKENS - 1)), rel=1e-3)


def test_times_are_those_that_the_endpoint_records() -> None:
    """Within 3 %, however late a busy machine makes both; the generator's CPU time is known."""
    endpoint = Streams()
    watch = FirstTimed(endpoint)
    block, first_s, each_s = measured(endpoint, watch)
    timed = range(watch.number, watch.number + 2 * STREAMS)
    sent = [np.array(endpoint.sent_s[n]) - endpoint.received_s[n] for n in timed]
    assert first_s == pytest.approx(np.median([one[0] for one in sent]), rel=0.03)
    assert each_s == pytest.approx(np.median([np.diff(one).mean() for one in sent]), rel=0.03)
    assert first_s >= FIRST_S
    assert 0 < float(block.samples[GENERATOR_CPU][0]) < block.wall_s
