"""Capacity: the largest load at which 95 % of the requests keep the SLO, measured for finalists."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.statistics.capacity_bisection import (
    KEPT,
    MOST_PROBES,
    CapacityProbe,
    capacity_interval,
)
from tunefront.evaluators.statistics.formatting import number_text, percent_text
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.spaces.metric import FINALISTS_ONLY, Metric

CapacityKind = Literal["rate", "concurrency"]
"""What grows: requests a second at random times, or requests in progress."""
UNITS: Mapping[CapacityKind, str] = {"rate": "requests/s", "concurrency": "requests in progress"}
CAPACITY = Metric(
    name="capacity",
    unit=UNITS["rate"],
    direction="maximize",
    summary=f"largest load at which {percent_text(KEPT)} of the requests keep `slo`",
    kind="speed",
    finalists_only=True,
)
NOT_OF_EVERY_TRIAL = (
    f"capacity {FINALISTS_ONLY}, by the key confirmation.capacity; in objectives and limits use "
    "goodput, or the metrics of the SLO"
)
"""Why capacity can't be an objective or a limit."""
WARM_UP_SHARE = 0.2
"""Share of a probe at its beginning whose requests do not count: the queue is still short."""
FEWEST_REQUESTS = 20
"""Fewest requests of a probe that count; the lowest rate has as many in the time of a probe."""
LEAST_PROBES = 4
"""Fewest probes for which a search begins if the time is short."""
TAIL = 2.0
"""Largest duration of a probe with the requests that are still in progress, in its seconds."""
MOST_REQUESTS = 2000
"""Most requests of a probe that count; more do not narrow the interval noticeably."""


def capacity_metric(kind: CapacityKind) -> Metric:
    """Return the metric of the capacity, whose unit depends on its kind."""
    return replace(CAPACITY, unit=UNITS[kind])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLoad:
    """The load of a probe.

    Attributes:
        load: When requests are sent.
        first: Number of the first request that counts; in a closed loop 0.
        requests: Number of requests; 0 if the time decides, as in a closed loop.
    """

    load: Load
    first: int = 0
    requests: int = 0


def probe_load(kind: CapacityKind, level: float, seconds: float, seed: int) -> ProbeLoad:
    """Return the load of a probe.

    The times of an open loop are those of a Poisson process, given the number of requests in the
    time of the probe: independent and uniform. The rate is exact then; see `capacity_interval`.
    """
    if kind == "concurrency":
        return ProbeLoad(load=Load(concurrency=round(level), seed=seed))
    each = 1 - WARM_UP_SHARE
    count = min(math.ceil(level * seconds), math.ceil(MOST_REQUESTS / each))
    count = max(count, math.ceil(FEWEST_REQUESTS / each))
    random = np.random.default_rng(seed)
    times = np.sort(random.uniform(0, count / level, count)).tolist()
    first = math.ceil(WARM_UP_SHARE * count)
    return ProbeLoad(load=Load(times_s=tuple(times), seed=seed), first=first, requests=count)


def lowest_level(kind: CapacityKind, seconds: float) -> float:
    """Return the lowest load that is probed."""
    return 1.0 if kind == "concurrency" else FEWEST_REQUESTS / seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """A probe and the times of its requests.

    Attributes:
        probe: The probe.
        times_ms: The time that `KEPT` of the requests stay under, by metric of the SLO, in ms;
            infinite if more than the rest did not end in time.
    """

    probe: CapacityProbe
    times_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySearch:
    """A search for the capacity.

    Attributes:
        kind: What grows.
        start: The first load.
        seconds: Seconds of a probe.
        limit_s: Seconds of all probes; none begins that would end later.
        seed: Seed of the first probe.
    """

    kind: CapacityKind
    start: float
    seconds: float
    limit_s: float
    seed: int = 0

    @classmethod
    def within(
        cls, kind: CapacityKind, start: float, seconds: float, seconds_left: float
    ) -> "CapacitySearch | None":
        """Return a search that ends in the time left; None if that is too short.

        Args:
            kind: What grows.
            start: The first load.
            seconds: Seconds of a probe.
            seconds_left: Seconds until the deadline; infinite without one.
        """
        if seconds_left < LEAST_PROBES * seconds:
            return None
        limit_s = min(TAIL * MOST_PROBES * seconds, seconds_left)
        return cls(kind=kind, start=start, seconds=seconds, limit_s=limit_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityResult:
    """The result of a search for the capacity.

    Attributes:
        search: The search.
        slo: The limits of a request in ms, by metric.
        probes: The probes, in their order; empty if it failed.
        problem: Why it failed; empty if it did not.
    """

    search: CapacitySearch
    slo: Mapping[str, float]
    probes: tuple[ProbeResult, ...] = ()
    problem: str = ""

    @property
    def measurement(self) -> Measurement | None:
        """The capacity; None if no load kept the SLO.

        Requests in progress are whole: values between two numbers are the lower one.
        """
        if not self.probes:
            return None
        found = capacity_interval([one.probe for one in self.probes], self.search.start)
        if found is None:
            return None
        if self.search.kind == "concurrency":
            found = whole(found)
        value, low, high = found
        unit, samples = UNITS[self.search.kind], len(self.probes)
        return Measurement(value=value, unit=unit, low=low, high=high, samples=samples)

    @property
    def shortfall(self) -> str:
        """Why there is no capacity, with the nearest measured load; empty if there is one."""
        if self.problem:
            return f"the capacity was not measured: {self.problem}"
        if self.measurement is not None or not self.probes:
            return ""
        nearest = max(self.probes, key=lambda one: (one.probe.share, -one.probe.level))
        times = ", ".join(
            f"{name} {number_text(nearest.times_ms[name])} (limit {number_text(limit)})"
            for name, limit in self.slo.items()
        )
        lowest = min(one.probe.level for one in self.probes)
        return (
            f"no probed load, from {number_text(lowest)} {UNITS[self.search.kind]} on, keeps the "
            f"SLO for {percent_text(KEPT)} of the requests; the nearest, "
            f"{number_text(nearest.probe.level)} {UNITS[self.search.kind]}, keeps it for "
            f"{percent_text(nearest.probe.share)}, and {percent_text(KEPT)} of them stay under "
            f"{times}"
        )


def whole(interval: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return an interval of whole numbers, at least 1; a boundary between two is the lower one."""
    value, low, high = interval
    ends = (math.floor(end) if math.isfinite(end) else end for end in (value, low, high))
    middle, lower, upper = (max(1.0, float(end)) for end in ends)
    return middle, lower, upper
