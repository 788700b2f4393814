"""An engine whose time is counted, not measured: `time.perf_counter` is its clock."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    TokenEvent,
)


@dataclass
class Running:
    """A request that the engine works on."""

    number: int
    left: int


class SimulatedEngine(GenerationEndpoint):
    """Batches continuously: a step reads the prompts that wait, and adds a token to all requests.

    Args:
        monkeypatch: Replaces the clock.
        step_s: Seconds of a step.
        each_s: Further seconds for each request in it.
        prompt_s: Seconds to read a token of a prompt.
        slots: Largest number of requests in progress.
        noise: Standard deviation of the logarithm of a step's time.
        seed: Seed of the noise.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        step_s: float = 0.01,
        each_s: float = 0.0,
        prompt_s: float = 0.0,
        slots: int = 1 << 30,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.now = 0.0
        self.step_s, self.each_s, self.prompt_s = step_s, each_s, prompt_s
        self.slots, self.noise = slots, noise
        self.random = np.random.default_rng(seed)
        self.waiting: deque[tuple[int, GenerationRequest]] = deque()
        self.running: list[Running] = []
        self.cancelled: list[int] = []
        self.received: list[GenerationRequest] = []
        self.sent_at: list[float] = []
        self.in_progress: list[int] = []
        self.tokens = 0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def submit(self, request: GenerationRequest) -> int:
        number = len(self.received)
        self.received.append(request)
        self.sent_at.append(self.now)
        self.waiting.append((number, request))
        return number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        ended = [
            TokenEvent(request=number, tokens=(), arrival_s=self.now, end=True)
            for number in self.cancelled
        ]
        self.cancelled = []
        if ended:
            return ended
        self.in_progress.append(len(self.running) + len(self.waiting))
        if not self.in_progress[-1]:
            self.now += timeout_s
            return ()
        return self._step()

    def _step(self) -> list[TokenEvent]:
        seconds = 0.0
        while self.waiting and len(self.running) < self.slots:
            number, request = self.waiting.popleft()
            seconds += self.prompt_s * len(request.prompt)
            self.running.append(Running(number, request.new_tokens))
        seconds += self.step_s + self.each_s * len(self.running)
        self.now += seconds * float(np.exp(self.noise * self.random.normal()))
        for one in self.running:
            one.left -= 1
        self.tokens += len(self.running)
        events = [
            TokenEvent(
                request=one.number, tokens=(one.left,), arrival_s=self.now, end=one.left == 0
            )
            for one in self.running
        ]
        self.running = [one for one in self.running if one.left]
        return events

    def cancel(self, request: int) -> None:
        known = [one.number for one in self.running] + [number for number, _ in self.waiting]
        if request in known:
            self.cancelled.append(request)
        self.running = [one for one in self.running if one.number != request]
        self.waiting = deque(pair for pair in self.waiting if pair[0] != request)

    def facts(self) -> Facts:
        return {}


class Watch:
    """A clock of CPU time that counts nothing."""

    def start(self) -> None:
        """Nothing is counted."""

    def stop(self) -> tuple[float, float]:
        return 1e-9, 0.0


def requests_of(lengths: Sequence[int], prompt: int = 2) -> list[GenerationRequest]:
    """Requests with some numbers of new tokens, and prompts of different tokens."""
    return [
        GenerationRequest(prompt=tuple(range(n, n + prompt)), new_tokens=length)
        for n, length in enumerate(lengths)
    ]
