"""The contract of an interface: how endpoints are called, timed, recorded and compared."""

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces.metric import Metric

from .endpoint import Endpoint
from .load import Load

Percentiles = tuple[tuple[float, float], ...]
"""Percentiles of a metric: of each a percentage and the value."""
STEADY = 0.05
"""Largest relative difference of two passes in a row at which warm-up ends."""


class CpuClock(Protocol):
    """CPU time of the processes of an endpoint (`ProcessWatch` of measures/machine.py is one)."""

    def start(self) -> None:
        """Start counting."""

    def stop(self) -> tuple[float, float]:
        """Return CPU seconds and the seconds that threads waited for a core since `start`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSize:
    """The size of a pass over all requests.

    Attributes:
        items: What the interface's rate counts: items of tensors, generated tokens.
        tokens: Tokens that are read, without padding; None if requests contain no text.
    """

    items: int
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A response compared with a recorded one.

    Attributes:
        holds: Whether it is the same, within what rounding can change.
        detail: The difference found and the one that is allowed, as text.
    """

    holds: bool
    detail: str


RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
EndpointT = TypeVar("EndpointT", bound=Endpoint)


class Interface(ABC, Generic[RequestT, ResponseT, EndpointT]):
    """An interface: request and response types, and what is timed; it has no state.

    Attributes:
        name: Its name in extensions and files.
        metrics: The metrics of `measurements`, in the order of their listings.
        unserved: Why an export can be without serve.py although its runtime can be served.
        checked: Names of the metrics, times of one request alone, that exports are checked by.
        script_needs: Distributions that it needs in an export with a tokenizer, in addition to
            those of the runtime.
        usage: Python lines that open an export and call it, for its README.
        in_parts: Whether each turn is timed with a part of the requests; otherwise with all.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    unserved: ClassVar[str]
    checked: ClassVar[tuple[str, ...]]
    script_needs: ClassVar[tuple[str, ...]] = ()
    usage: ClassVar[str]
    in_parts: ClassVar[bool] = False

    @abstractmethod
    def sample_script(self) -> str:
        """Return the end of an export's run.py: it runs the recorded request and compares."""

    @abstractmethod
    def write(self, requests: Sequence[RequestT], folder: Path) -> None:
        """Write requests to files in a folder."""

    @abstractmethod
    def read(self, folder: Path) -> list[RequestT]:
        """Read the requests that `write` wrote."""

    @abstractmethod
    def size(self, requests: Sequence[RequestT]) -> PassSize:
        """Return the size of a pass over requests."""

    @abstractmethod
    def respond(self, endpoint: EndpointT, request: RequestT) -> ResponseT:
        """Run one request.

        Raises:
            EvaluationError: If the response is not usable (cause "invalid output").
        """

    @abstractmethod
    def run_pass(self, endpoint: EndpointT, requests: Sequence[RequestT], load: Load) -> float:
        """Run all requests once and return the wall seconds."""

    @abstractmethod
    def run_block(
        self,
        endpoint: EndpointT,
        requests: Sequence[RequestT],
        load: Load,
        least_s: float,
        watch: CpuClock,
    ) -> Block:
        """Time whole passes for at least `least_s` seconds."""

    @abstractmethod
    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the measurements of `metrics`, from the included turns."""

    def least_requests(self, load: Load) -> int:
        """Return the fewest requests that a pass under a load must have."""
        return 1

    def distributions(self, timing: Timing) -> Mapping[str, Percentiles]:
        """Return percentiles of metrics of single requests: of each a percentage and the value."""
        return {}

    def warnings(self, timing: Timing, cores: int) -> Sequence[str]:
        """Return why the timing may be wrong.

        Args:
            timing: The timing of a candidate.
            cores: Cores of each of its replicas.
        """
        return ()

    def not_measured(self, slo: Mapping[str, float], output_tokens: int | None) -> dict[str, str]:
        """Return the metrics that a workload does not measure, each with the reason.

        Args:
            slo: Limits of single requests by metric; empty without any.
            output_tokens: Tokens that each response has; None if that is not given.
        """
        return {}

    @abstractmethod
    def write_sample(self, request: RequestT, response: ResponseT, folder: Path) -> None:
        """Record a request with its response in an export."""

    @abstractmethod
    def read_sample(self, folder: Path) -> tuple[RequestT, ResponseT]:
        """Read what `write_sample` recorded.

        Raises:
            ExportError: If it can't be read.
        """

    @abstractmethod
    def compare(self, recorded: ResponseT, now: ResponseT, allowed: float) -> Comparison:
        """Compare a response with the recorded one.

        Args:
            recorded: The recorded response.
            now: The response to the same request.
            allowed: Largest difference of a number relative to the largest one, that rounding in
                the candidate's number format explains.
        """

    def warm_up(
        self, endpoint: EndpointT, requests: Sequence[RequestT], load: Load, limit_s: float
    ) -> float:
        """Run passes until they are steady; return the seconds taken, see `until_steady`."""
        return until_steady(lambda: self.run_pass(endpoint, requests, load), limit_s)


def until_steady(run_pass: Callable[[], float], limit_s: float) -> float:
    """Run passes until two in a row differ by at most `STEADY`, or `limit_s` has passed.

    Args:
        run_pass: Runs a pass and returns its seconds.
        limit_s: Largest duration in seconds; it is checked between passes only.

    Returns:
        Seconds taken. At least two passes run.
    """
    start = time.perf_counter()
    before = run_pass()
    while True:
        now = run_pass()
        elapsed = time.perf_counter() - start
        if abs(now - before) <= STEADY * before or elapsed > limit_s:
            return elapsed
        before = now


@contextmanager
def no_collection() -> Iterator[None]:
    """Disable the garbage collector, whose pauses would distort timings."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
