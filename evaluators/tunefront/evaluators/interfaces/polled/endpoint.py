"""Endpoints that are polled, so that one thread generates the load.

A request is submitted, and `poll` returns what has arrived since, of all requests in progress.
Engines that batch continuously, static batches and HTTP servers all fit it. What arrives are the
parts of a response: the tokens of a text, or one content over HTTP.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from tunefront.evaluators.interfaces.endpoint import Endpoint

PolledT = TypeVar("PolledT")
"""Type of requests."""


class TimedResponse(Protocol):
    """A response with the times of its parts."""

    @property
    def arrival_s(self) -> tuple[float, ...]:
        """Seconds from the time at which the request was due to the arrival of each part."""
        ...


TimedT = TypeVar("TimedT", bound=TimedResponse)
"""Type of responses."""
_MadeResponse = TypeVar("_MadeResponse", bound=TimedResponse, covariant=True)


class PolledRequest(Protocol[_MadeResponse]):
    """What the load generator needs of a request."""

    @property
    def most_parts(self) -> int:
        """The largest number of parts that its response can have."""
        ...

    def timed_response(self, parts: Sequence[Any], arrival_s: Sequence[float]) -> _MadeResponse:
        """Return the response of an ended request.

        Raises:
            EvaluationError: If parts are missing (cause "invalid output").
        """
        ...


RepeatedT = TypeVar("RepeatedT", bound=PolledRequest[Any])
"""Type of requests that are sent again and again."""
Repeat = Callable[[Sequence[RepeatedT], int, int, int], Iterator[RepeatedT]]
"""Yields requests again and again: of these requests, with the seed of the turn, numbered from a
first number with a step. Where a repeated request would be found in a cache, it is another one."""


class ArrivalEvent(Protocol):
    """Parts of a response that have arrived."""

    @property
    def request(self) -> int:
        """Number of the request, from `submit`."""
        ...

    @property
    def parts(self) -> tuple[Any, ...]:
        """The new parts; empty if the event only reports the end."""
        ...

    @property
    def arrival_s(self) -> float:
        """When they arrived, by `time.perf_counter` of the polling process."""
        ...

    @property
    def end(self) -> bool:
        """Whether the request has ended."""
        ...

    @property
    def error(self) -> str:
        """Why it failed; empty if it did not. A failed request has ended."""
        ...


class PolledEndpoint(Endpoint, Generic[PolledT, TimedT]):
    """An endpoint that is polled; its calls come from one thread and never block for long."""

    @abstractmethod
    def submit(self, request: PolledT) -> int:
        """Send a request and return its number.

        Raises:
            EvaluationError: If the endpoint can't serve it (cause "unsupported").
        """

    @abstractmethod
    def poll(self, timeout_s: float) -> Sequence[ArrivalEvent]:
        """Return the events since the last call; wait at most `timeout_s` for the first.

        An engine that runs in this process can run one step instead, however long that takes.

        Raises:
            EvaluationError: If the endpoint has ended (cause "crash").
        """

    @abstractmethod
    def cancel(self, request: int) -> None:
        """End a request whose response is no longer needed.

        `poll` reports its end like that of any other, without an error: at once, or after its
        remaining parts if the endpoint can't cancel. Numbers that are unknown or have ended are
        ignored.
        """
