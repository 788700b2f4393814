"""A simulated server: requests arrive at random, and share the steps of a batch."""

import math
from dataclasses import dataclass

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.capacity_bisection import (
    MOST_PROBES,
    CapacityProbe,
    capacity_interval,
    next_level,
    precise,
)

WARM_UP_SHARE = 0.2


@dataclass(frozen=True)
class Server:
    """Batches continuously: a step reads the prompts that have arrived, and adds a token to all.

    Attributes:
        step_s: Seconds of a step.
        each_s: Further seconds for each request in it.
        prompt_s: Further seconds for each prompt that is read.
        tokens: Tokens of a response.
        slots: Largest number of requests in progress.
        ttft_s: Limit of the time to the first token.
        tpot_s: Limit of the mean time between tokens.
        capacity: The rate at which 95 % of the requests keep both limits, from runs of 150,000
            requests at four rates near it.
    """

    step_s: float
    each_s: float
    prompt_s: float
    tokens: int
    slots: int
    ttft_s: float
    tpot_s: float
    capacity: float

    def ratios(
        self, rate: float, count: int, random: np.random.Generator, speed: float = 1.0
    ) -> Floats:
        """Return for each request, in order, the largest ratio of a time to its limit.

        Args:
            rate: Requests a second; `count` of them arrive in exactly `count / rate` seconds.
            count: Number of requests.
            random: Generator of their times.
            speed: The machine's speed.
        """
        return self.ratios_at(np.sort(random.uniform(0, count / rate, count)), speed)

    def ratios_at(self, due_s: Floats, speed: float = 1.0) -> Floats:
        """Return the ratios of requests that are due at given times."""
        count, due = len(due_s), due_s.tolist()
        step, each, prompt = self.step_s / speed, self.each_s / speed, self.prompt_s / speed
        now, sent, running = 0.0, 0, 0
        first, joined = [0] * count, []
        ends: list[float] = []
        while sent < count or running:
            if not running and due[sent] > now:
                now = due[sent]
            joining = 0
            while sent < count and running < self.slots and due[sent] <= now:
                first[sent] = len(ends)
                sent, running, joining = sent + 1, running + 1, joining + 1
            joined.append(joining)
            now += step + each * running + prompt * joining
            ends.append(now)
            if len(ends) >= self.tokens:
                running -= joined[len(ends) - self.tokens]
        end_s, places = np.array(ends), np.array(first)
        ttft_s = end_s[places] - due_s
        tpot_s = (end_s[places + self.tokens - 1] - end_s[places]) / (self.tokens - 1)
        found: Floats = np.maximum(ttft_s / self.ttft_s, tpot_s / self.tpot_s)
        return found

    def share(self, rate: float, count: int, seed: int) -> float:
        """Return the share of requests that keep the limits in a long run of Poisson arrivals."""
        due_s = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))
        return float((self.ratios_at(due_s)[count // 50 :] <= 1).mean())


WAITING = Server(
    step_s=0.02,
    each_s=0.001,
    prompt_s=0.005,
    tokens=32,
    slots=16,
    ttft_s=0.2,
    tpot_s=0.045,
    capacity=9.43,
)
"""The time to the first token decides: requests wait for a slot."""
QUEUE = Server(
    step_s=0.02,
    each_s=0.001,
    prompt_s=0.005,
    tokens=32,
    slots=16,
    ttft_s=0.5,
    tpot_s=0.045,
    capacity=10.70,
)
"""The same with a longer limit, near the rate at which the queue grows without end."""
BATCHES = Server(
    step_s=0.02,
    each_s=0.001,
    prompt_s=0.005,
    tokens=32,
    slots=16,
    ttft_s=1.0,
    tpot_s=0.034,
    capacity=7.13,
)
"""The time between tokens decides: it grows with the requests in progress."""


def search(
    server: Server, requests: int, noise: float, seed: int
) -> tuple[list[CapacityProbe], tuple[float, float, float] | None]:
    """Search for the capacity; the first rate is wrong by a factor of up to 2.

    Args:
        server: The server.
        requests: Requests of a probe; the first 20 % do not count.
        noise: Standard deviation of the logarithm of the machine's speed between probes.
        seed: Seed of everything random.
    """
    random = np.random.default_rng(seed)
    start = server.capacity * math.exp(random.uniform(-0.7, 0.7))
    probes: list[CapacityProbe] = []
    while len(probes) < MOST_PROBES and not precise(capacity_interval(probes, start)):
        level, speed = next_level(probes, start), math.exp(random.normal(0, noise))
        ratios = server.ratios(level, requests, random, speed)
        counted = ratios[math.ceil(WARM_UP_SHARE * requests) :]
        probes.append(CapacityProbe.of(level, counted, requests))
    return probes, capacity_interval(probes, start)
