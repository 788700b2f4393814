"""Endpoints that are called over HTTP: polled, see `PolledEndpoint`; responses arrive whole."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.evaluators.interfaces.polled.endpoint import PolledEndpoint

from .requests import HttpRequest, HttpResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentEvent:
    """The end of a request.

    Attributes:
        request: Number of the request, from `submit`.
        parts: The content of the response; empty if the request was cancelled or has failed.
        arrival_s: When its end arrived, by `time.perf_counter` of the polling process.
        end: Whether the request has ended.
        error: Why it failed, such as another status than 200 to 299; empty if it did not.
    """

    request: int
    parts: tuple[bytes, ...] = ()
    arrival_s: float
    end: bool = True
    error: str = ""


class HttpEndpoint(PolledEndpoint[HttpRequest, HttpResponse]):
    """An endpoint that is called over HTTP."""

    @abstractmethod
    def poll(self, timeout_s: float) -> Sequence[ContentEvent]:
        """Return the responses since the last call; see `PolledEndpoint.poll`."""
