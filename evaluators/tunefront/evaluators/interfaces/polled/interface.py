"""What interfaces of polled endpoints have in common: passes and blocks under a load."""

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from tunefront.evaluators.interfaces.base import (
    CpuClock,
    Interface,
    Percentiles,
    until_steady,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.statistics.timing import Block, Timing

from .endpoint import PolledEndpoint, RepeatedT, TimedT
from .load_generator import run_requests
from .metrics import SLO_SAMPLES
from .timed_block import check_generator, timed_block

WARM_UP_LOAD = Load(concurrency=4)
"""The load of warm-up passes if timed requests are sent at a rate, which can be low."""
PASS_LOADS = 2
"""Requests in a pass, for each in progress: what is in progress at the ends of a block differs."""
PERCENTILES = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
"""What is kept of a distribution: 0 is the least value, 100 the largest."""
OPEN_LOOP_REQUESTS = 16
"""Fewest requests in a pass of an open loop, whose times are random."""
_PolledEndpointT = TypeVar("_PolledEndpointT", bound=PolledEndpoint[Any, Any])


class PolledInterface(
    Interface[RepeatedT, TimedT, _PolledEndpointT], Generic[RepeatedT, TimedT, _PolledEndpointT]
):
    """An interface of polled endpoints: requests under a load, at a rate or several at a time.

    Attributes:
        slo_example: Limits of requests as a user writes them, for messages.
    """

    slo_example: ClassVar[str]

    @abstractmethod
    def repeated(
        self, requests: Sequence[RepeatedT], seed: int, start: int, step: int
    ) -> Iterator[RepeatedT]:
        """Yield requests again and again; see `Repeat`."""

    def respond(self, endpoint: _PolledEndpointT, request: RepeatedT) -> TimedT:
        """Run one request alone.

        Raises:
            EvaluationError: If it fails, or parts of its response are missing (cause "invalid
                output").
        """
        found: TimedT = run_requests(endpoint, [request])[0]
        return found

    def least_requests(self, load: Load) -> int:
        """Return the fewest requests in a pass: `PASS_LOADS` times as many as are in progress."""
        return OPEN_LOOP_REQUESTS if load.open_loop else PASS_LOADS * load.concurrency

    def run_pass(
        self, endpoint: _PolledEndpointT, requests: Sequence[RepeatedT], load: Load
    ) -> float:
        """Run all requests once under the load and return the seconds."""
        start = time.perf_counter()
        run_requests(endpoint, requests, load)
        return time.perf_counter() - start

    def warm_up(
        self,
        endpoint: _PolledEndpointT,
        requests: Sequence[RepeatedT],
        load: Load,
        limit_s: float,
    ) -> float:
        """Run passes until they are steady.

        For an open loop they are the first requests under `WARM_UP_LOAD`: its own passes can be
        long, and their times are random.
        """
        steady, some = load, requests
        if load.open_loop:
            steady, some = WARM_UP_LOAD, requests[: self.least_requests(WARM_UP_LOAD)]
        return until_steady(lambda: self.run_pass(endpoint, some, steady), limit_s)

    def run_block(
        self,
        endpoint: _PolledEndpointT,
        requests: Sequence[RepeatedT],
        load: Load,
        least_s: float,
        watch: CpuClock,
    ) -> Block:
        """Time whole passes at the full load; see `timed_block`.

        Raises:
            EvaluationError: If the load generator limited the speed, see `check_generator`.
        """
        block = timed_block(endpoint, requests, load, least_s, watch, self.repeated)
        check_generator(block)
        return block


def time_distributions(timing: Timing, samples: Sequence[str]) -> Mapping[str, Percentiles]:
    """Return `PERCENTILES` of the times of requests, by metric; of those that have values.

    Args:
        timing: The timing.
        samples: The samples whose distribution is kept.
    """
    found: dict[str, Percentiles] = {}
    for name, sample in SLO_SAMPLES.items():
        values = timing.request_values(sample).values if sample in samples else ()
        if len(values):
            ends = np.percentile(values, PERCENTILES) * 1e3
            found[name] = tuple(zip(PERCENTILES, map(float, ends), strict=True))
    return found
