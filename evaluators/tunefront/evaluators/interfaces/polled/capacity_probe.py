"""A probe of the capacity: an endpoint at one load for a while, and which requests keep the SLO."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.capacity_bisection import KEPT, OVERLOADED, CapacityProbe
from tunefront.evaluators.statistics.timing import REQUEST

from .capacity import (
    FEWEST_REQUESTS,
    MOST_REQUESTS,
    WARM_UP_SHARE,
    CapacityKind,
    ProbeLoad,
    ProbeResult,
    probe_load,
)
from .endpoint import PolledEndpoint, PolledRequest, Repeat, RepeatedT
from .load_generator import LoadGenerator, SentRequest
from .metrics import SLO_SAMPLES
from .timed_block import BETWEEN_TOKENS, FIRST_TOKEN, GAPS, check_busy

CHECK_S = 1.0
"""Seconds between two counts of failed requests, after which an overloaded probe ends."""
MOST_DURATIONS = 2.0
"""Largest duration of a closed loop whose requests are few, in durations of a probe; after it the
probe ends with the first request that counts."""


def run_probe(
    endpoint: PolledEndpoint[RepeatedT, Any],
    requests: Sequence[RepeatedT],
    slo: Mapping[str, float],
    kind: CapacityKind,
    level: float,
    seconds: float,
    seed: int,
    repeated: Repeat[RepeatedT],
    limit_s: float = math.inf,
) -> ProbeResult | None:
    """Run an endpoint at a load, and compare each request with the SLO.

    The first requests, while the queue is still short, do not count. After the counted ones, others
    follow at the same load until these have ended or can't keep the SLO any more. Where the SLO
    limits the time between tokens only, a request can be late without breaking it: in an open loop
    it has failed if it has not ended a probe's duration after the last one was sent, as the queue
    grows. A probe ends when so many requests have failed that its share is below `OVERLOADED`.

    Args:
        endpoint: The endpoint.
        requests: The requests, which are sent again and again.
        slo: The limits of a request in ms, by metric.
        kind: What the level counts.
        level: The load.
        seconds: Seconds of the probe.
        seed: Seed of the times and of the beginnings of prompts.
        repeated: Yields the requests again and again.
        limit_s: Seconds until the probe must have ended.

    Returns:
        The result; None if requests that could still keep the SLO had not ended at `limit_s`.

    Raises:
        EvaluationError: If a request fails, or returns fewer tokens than requested: a short
            response is not a fast one (cause "invalid output"). If the load generator limits the
            speed.
    """
    wanted = probe_load(kind, level, seconds, seed)
    most_parts = max(one.most_parts for one in requests)
    turned = repeated(requests, seed, 0, 1)
    probe = _Probe(endpoint, turned, most_parts, slo, wanted, seconds, limit_s)
    times = probe.run()
    if times is None:
        return None
    ratios = np.max([times[name] / limit for name, limit in slo.items()], axis=0)
    place = math.ceil(KEPT * len(ratios)) - 1
    return ProbeResult(
        probe=CapacityProbe.of(level, ratios, wanted.requests),
        times_ms={name: float(np.sort(found)[place]) for name, found in times.items()},
    )


class _Probe:
    """A running probe."""

    def __init__(
        self,
        endpoint: PolledEndpoint[Any, Any],
        requests: Iterator[PolledRequest[Any]],
        most_parts: int,
        slo: Mapping[str, float],
        wanted: ProbeLoad,
        seconds: float,
        limit_s: float,
    ) -> None:
        self._slo = slo
        self._wanted = wanted
        self._seconds = seconds
        self._run = LoadGenerator(endpoint, wanted.load)
        self._requests = requests
        longest_s = _longest_s(slo, most_parts)
        queued = bool(wanted.requests)
        self._longest_s = seconds if queued and math.isinf(longest_s) else longest_s
        self._sent: list[int] = []
        self._start_s = self._checked_s = time.perf_counter()
        self._end_s = self._start_s + limit_s

    def run(self) -> dict[str, Floats] | None:
        """Return the times of the counted requests in ms, by metric of the SLO.

        None if the limit was reached before they were known.
        """
        run = self._run
        while not self._complete() and not self._overloaded():
            self._send()
        own_s, wall_s = run.own_cpu_s, time.perf_counter() - self._start_s
        counted, known = self._counted(), True
        if self._complete():
            known = self._wait_for(counted)
        found = _times_ms(run.sent(counted), self._running(counted), self._slo)
        run.cancel_rest()
        check_busy(own_s, wall_s)
        if not known:
            return None
        missing = max(0, self._wanted.requests - self._wanted.first - len(counted))
        return {name: np.append(one, np.full(missing, np.inf)) for name, one in found.items()}

    def _wait_for(self, counted: Sequence[int]) -> bool:
        """Send further requests while counted ones can keep the SLO; are all known then?."""
        run, late_s = self._run, time.perf_counter() + self._longest_s
        while run.runs_any(counted) and time.perf_counter() < min(late_s, self._end_s):
            self._send(until=lambda: not run.runs_any(counted))
        return time.perf_counter() >= late_s or not run.runs_any(counted)

    def _send(self, until: Callable[[], bool] = lambda: False) -> None:
        """Send a request when it is due."""
        self._run.wait(until=until)
        self._sent.append(self._run.submit(next(self._requests)))

    def _counted(self) -> list[int]:
        """Return the numbers of the sent requests that count."""
        if self._wanted.requests:
            return self._sent[self._wanted.first : self._wanted.requests]
        from_s = self._start_s + WARM_UP_SHARE * self._seconds
        sent = zip(self._sent, self._run.sent(self._sent), strict=True)
        return [number for number, one in sent if one.due_s >= from_s][:MOST_REQUESTS]

    def _complete(self) -> bool:
        """Return whether all requests that count have been sent."""
        if self._wanted.requests:
            return len(self._sent) >= self._wanted.requests
        durations = (time.perf_counter() - self._start_s) / self._seconds
        if durations < 1:
            return False
        counted = len(self._counted())
        return counted >= FEWEST_REQUESTS or (durations >= MOST_DURATIONS and counted > 0)

    def _overloaded(self) -> bool:
        """Return whether so many requests of an open loop have failed that the load is too high."""
        now = time.perf_counter()
        if not self._wanted.requests or now - self._checked_s < CHECK_S:
            return False
        self._checked_s = now
        if not (counted := self._counted()):
            return False
        sent, running = self._run.sent(counted), self._running(counted)
        times = _times_ms(sent, running, self._slo)
        broken = np.any([times[name] > limit for name, limit in self._slo.items()], axis=0)
        late = np.array([one.due_s + self._longest_s < now for one in sent])
        failed = int((broken & (late | ~np.array(running))).sum())
        return failed > (1 - OVERLOADED) * (self._wanted.requests - self._wanted.first)

    def _running(self, numbers: Sequence[int]) -> list[bool]:
        """Return for each request whether it has not ended."""
        return [self._run.runs_any([number]) for number in numbers]


def _longest_s(slo: Mapping[str, float], most_parts: int) -> float:
    """Return the seconds after which a request without its last token has failed."""
    limits = {SLO_SAMPLES[name]: limit / 1e3 for name, limit in slo.items()}
    whole = limits.get(REQUEST, math.inf)
    between = min(limits.get(BETWEEN_TOKENS, math.inf), limits.get(GAPS, math.inf))
    return min(whole, limits.get(FIRST_TOKEN, math.inf) + between * (most_parts - 1))


def _times_ms(
    sent: Sequence[SentRequest[Any]], running: Sequence[bool], slo: Mapping[str, float]
) -> dict[str, Floats]:
    """Return what the SLO limits, in ms by metric; infinite where a request has not ended."""
    found: dict[str, Floats] = {}
    for name in slo:
        values = [
            _value_s(one, SLO_SAMPLES[name], runs) for one, runs in zip(sent, running, strict=True)
        ]
        found[name] = 1e3 * np.array(values, dtype=np.float64)
    return found


def _value_s(sent: SentRequest[Any], sample: str, running: bool) -> float:
    """Return a time of a request in seconds; 0 between the tokens of a single one.

    Raises:
        EvaluationError: If it has ended with fewer tokens than requested.
    """
    arrival_s = sent.arrival_s if running else sent.response().arrival_s
    if sample == FIRST_TOKEN and arrival_s:
        return arrival_s[0]
    if running:
        return math.inf
    if sample == REQUEST:
        return arrival_s[-1]
    gaps = np.diff(arrival_s)
    return float(gaps.max(initial=0.0) if sample == GAPS else gaps.mean() if len(gaps) else 0.0)
