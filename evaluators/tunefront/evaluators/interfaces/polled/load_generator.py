"""The load generator: sends requests when they are due, and collects responses meanwhile."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Generic

import numpy as np

from tunefront.evaluators.interfaces.load import Load
from tunefront.spaces import EvaluationError

from .endpoint import ArrivalEvent, PolledEndpoint, PolledRequest, TimedT

POLL_S = 0.5
"""Longest wait for an event in seconds, after which the next request can be due."""
CANCEL_S = 60.0
"""Seconds without an event after which a cancelled request counts as hung."""


@dataclass(slots=True)
class SentRequest(Generic[TimedT]):
    """A request that was sent, and the parts of its response so far.

    Attributes:
        request: The request.
        due_s: When it was due, by `time.perf_counter`; in a closed loop when it was sent.
        late_s: Seconds by which the load generator itself sent it too late.
        parts: The parts so far: tokens, or the content of a response over HTTP.
        arrival_s: Seconds from `due_s` to the arrival of each of them.
    """

    request: PolledRequest[TimedT]
    due_s: float
    late_s: float
    parts: list[Any] = field(default_factory=list)
    arrival_s: list[float] = field(default_factory=list)
    _response: TimedT | None = None

    def response(self) -> TimedT:
        """Return the response of an ended request; see `PolledRequest.timed_response` for errors.

        It is made once: the content of a response over HTTP takes time to read.
        """
        if self._response is None:
            self._response = self.request.timed_response(self.parts, self.arrival_s)
        return self._response


class LoadGenerator(Generic[TimedT]):
    """Sends requests when they are due by the load, and collects responses meanwhile.

    The times of an open loop are drawn ahead and do not depend on the engine: a request that is
    sent late, as while the engine runs a step in this thread, still counts from when it was due.

    Args:
        endpoint: The endpoint.
        load: The load; an open loop with the same seed has the same times.

    Attributes:
        parts: Number of parts of responses that have arrived, of all requests.
        ended: Number of requests that have ended.
        own_cpu_s: CPU seconds of the load generator, without the engine's.
    """

    def __init__(self, endpoint: PolledEndpoint[Any, TimedT], load: Load) -> None:
        self.parts = 0
        self.ended = 0
        self.own_cpu_s = 0.0
        self._endpoint = endpoint
        self._load = load
        self._gaps = _gaps(load)
        self._due_s = time.perf_counter()
        self._sent: dict[int, SentRequest[TimedT]] = {}
        self._running: set[int] = set()
        self._cancelled: set[int] = set()
        self._in_process = os.getpid() in (endpoint.processes() or ())
        self._called_s = self._polled_s = self._due_s
        self._cpu_s = self._cpu_now()

    def wait(self, until: Callable[[], bool] = lambda: False) -> None:
        """Collect responses until the next request is due, or `until` returns True."""
        if time.perf_counter() - self._polled_s > POLL_S:  # requests are due faster than sent
            self.collect(0.0)
        while (left_s := self._left_s()) > 0 and not until():
            self.collect(min(left_s, POLL_S))

    def _left_s(self) -> float:
        """Return the seconds until the next request is due; infinite if a slot must be free."""
        if not self._load.open_loop:
            return 0.0 if len(self._running) < self._load.concurrency else float("inf")
        return self._due_s - time.perf_counter()

    def resume(self) -> None:
        """Continue after a pause of this thread: what became due meanwhile is due now."""
        self._due_s = max(self._due_s, time.perf_counter())

    def submit(self, request: PolledRequest[TimedT]) -> int:
        """Send the request that is due and return its number; call `wait` before."""
        now = time.perf_counter()
        due_s = self._due_s if self._load.open_loop else now
        free_s = max(due_s, self._called_s) if self._in_process else due_s
        with self._engine():
            number = self._endpoint.submit(request)
        self._sent[number] = SentRequest(request=request, due_s=due_s, late_s=max(0, now - free_s))
        self._running.add(number)
        self._due_s += next(self._gaps)
        return number

    def collect(self, timeout_s: float) -> int:
        """Wait for events at most `timeout_s` seconds; return their number.

        Raises:
            EvaluationError: If a request has failed (cause "exception").
        """
        with self._engine():
            events = self._endpoint.poll(timeout_s)
        self._polled_s = self._called_s
        for event in events:
            self._take(event)
        return len(events)

    def _take(self, event: ArrivalEvent) -> None:
        if event.request not in self._running:  # a request of an earlier run
            return
        if event.error and event.request not in self._cancelled:
            raise EvaluationError(f"a request failed: {event.error}", cause="exception")
        sent = self._sent[event.request]
        sent.parts += event.parts
        sent.arrival_s += [event.arrival_s - sent.due_s] * len(event.parts)
        self.parts += len(event.parts)
        if event.end:
            self._running.discard(event.request)
            self.ended += 1

    @property
    def in_progress(self) -> int:
        """Number of requests that have not ended."""
        return len(self._running)

    def runs_any(self, numbers: Collection[int]) -> bool:
        """Return whether one of these requests has not ended."""
        return not self._running.isdisjoint(numbers)

    def sent(self, numbers: Sequence[int]) -> list[SentRequest[TimedT]]:
        """Return these requests with what has arrived."""
        return [self._sent[number] for number in numbers]

    def finish(self) -> None:
        """Wait until all requests have ended."""
        while self._running:
            self.collect(POLL_S)

    def cancel_rest(self) -> None:
        """Cancel what is in progress and wait for its end.

        Raises:
            EvaluationError: If nothing arrives for `CANCEL_S` seconds (cause "timeout").
        """
        self._cancelled = set(self._running)
        for number in self._cancelled:
            self._endpoint.cancel(number)
        last_s = time.perf_counter()
        while self._running:
            if self.collect(POLL_S):
                last_s = time.perf_counter()
            elif time.perf_counter() - last_s > CANCEL_S:
                raise EvaluationError(
                    f"{len(self._running)} cancelled requests had not ended after {CANCEL_S:g} s",
                    cause="timeout",
                )

    @contextmanager
    def _engine(self) -> Iterator[None]:
        """Run a call of the endpoint, whose CPU time counts as the engine's if it is here."""
        before = self._cpu_now()
        self.own_cpu_s += before - self._cpu_s
        yield
        self._called_s = time.perf_counter()
        after = self._cpu_now()
        if not self._in_process:
            self.own_cpu_s += after - before
        self._cpu_s = after

    def _cpu_now(self) -> float:
        """Return CPU seconds: of this thread, or of all threads if the engine is elsewhere."""
        return time.thread_time() if self._in_process else time.process_time()


def _gaps(load: Load) -> Iterator[float]:
    """Yield the seconds between requests of an open loop.

    Between two passes of a trace there is its mean gap.
    """
    if load.replay:
        gaps = np.diff(load.times_s)
        yield from cycle([*gaps.tolist(), float(gaps.mean())])
    random = np.random.default_rng(load.seed)
    while True:
        yield float(random.exponential(1 / load.rate_per_s)) if load.rate_per_s else 0.0


def run_requests(
    endpoint: PolledEndpoint[Any, TimedT],
    requests: Sequence[PolledRequest[TimedT]],
    load: Load | None = None,
) -> list[TimedT]:
    """Run requests under a load, one at a time if none is given; return their responses in order.

    Raises:
        EvaluationError: If a request fails, or parts of a response are missing (cause "invalid
            output").
    """
    run = LoadGenerator(endpoint, load or Load())
    numbers = []
    for request in requests:
        run.wait()
        numbers.append(run.submit(request))
    run.finish()
    return [one.response() for one in run.sent(numbers)]
