"""An open server that is called over HTTP with any requests, whose responses are read whole."""

import time
from collections.abc import Mapping, Sequence

from tunefront.evaluators.interfaces.http import ContentEvent, HttpEndpoint, HttpRequest
from tunefront.evaluators.interfaces.polled.server_spec import ServerSpec
from tunefront.spaces import EvaluationError, Value

from .endpoint import OpenServer
from .http_stream import StreamPart
from .process import ServerProcess


class HttpServer(OpenServer, HttpEndpoint):
    """A server that is called over HTTP; see `OpenServer`."""

    def __init__(
        self,
        url: str,
        spec: ServerSpec,
        process: ServerProcess | None,
        facts: Mapping[str, Value],
    ) -> None:
        super().__init__(url, spec, process, facts)
        self._sent: dict[int, HttpRequest] = {}
        self._cancelled: list[int] = []

    def submit(self, request: HttpRequest) -> int:
        """Send a request.

        Raises:
            EvaluationError: If the server can't be reached, with the cause of its end.
        """
        try:
            number = self._streams.send(
                request.method, request.path, request.headers, request.body.encode()
            )
        except EvaluationError:
            self._check_after_loss()
            raise
        self._sent[number] = request
        return number

    def poll(self, timeout_s: float) -> Sequence[ContentEvent]:
        """Return the responses that have arrived.

        Raises:
            EvaluationError: If the server has ended, with its last lines.
        """
        if self._cancelled:
            now = time.perf_counter()
            ended, self._cancelled = self._cancelled, []
            return [ContentEvent(request=one, arrival_s=now) for one in ended]
        return [self._event(one) for one in self._arrivals(timeout_s) if one.end]

    def cancel(self, request: int) -> None:
        """Close the connection of a request."""
        if self._streams.drop(request):
            del self._sent[request]
            self._cancelled.append(request)

    def _event(self, arrival: StreamPart) -> ContentEvent:
        request = self._sent.pop(arrival.number)
        error = f"{request.method} {request.path}: {arrival.error}" if arrival.error else ""
        return ContentEvent(
            request=arrival.number,
            parts=() if error else (arrival.content,),
            arrival_s=arrival.arrival_s,
            error=error,
        )
