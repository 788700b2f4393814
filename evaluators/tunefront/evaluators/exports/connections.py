"""Limits of serve.py's connections: their number, and the time that a client may take.

uvicorn closes a connection that is idle after a response. It waits without limit for a first
request and for clients that send it, or take a response, byte by byte.

This file is copied into exports unchanged, so it imports nothing from tunefront.
"""

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_S = 5
"""Time after which a connection without a request is closed, s."""
GRACE_S = 10
"""Time for running requests when the server is ended, s."""
MOST_BACKLOG = 256


class Connections:
    """The open connections that wait for their clients: for a request, or to take a response.

    Args:
        most: Maximum number of connections of the server.
        receive_s: Time in which a client must send a request's headers or take a response, s.
    """

    def __init__(self, most: int, receive_s: float) -> None:
        self.receive_s = receive_s
        self._most = most
        self._waiting: dict[Connection, None] = {}

    def wait(self, connection: "Connection") -> None:
        """Note that a connection waits for its client from now on."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def go_on(self, connection: "Connection") -> None:
        """Note that a connection has what it waited for, or is closed."""
        self._waiting.pop(connection, None)

    def make_room(self, count: int) -> None:
        """Close the connection that has waited longest if there are too many."""
        if count > self._most and self._waiting:
            next(iter(self._waiting)).abort()


class Connection(H11Protocol):
    """A connection that is closed if its client is slow, or others need its place."""

    def __init__(self, *arguments: Any, among: Connections, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._among = among
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(transport)
        self._wait()
        self._among.make_room(len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        self._among.go_on(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what was received; once its headers are there, `_body` limits a request's time."""
        before = self.cycle
        super().handle_events()
        now = self.cycle
        if now is not before:
            self._stop_timer()
        if now is not None and not now.more_body and not now.response_complete:
            self._among.go_on(self)

    def on_response_complete(self) -> None:
        """Wait until the response is taken, and for the next request."""
        self._wait()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Limit the time in which the client takes what waits to be sent."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """Go on with a response; after its end the connection still waits for its client."""
        super().resume_writing()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
            self._among.go_on(self)

    def abort(self) -> None:
        """Close at once, without sending what the client has not taken."""
        self.transport.abort()
        self._among.go_on(self)

    def _wait(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._among.receive_s, self.abort)
        self._among.wait(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def server_options(most: int, receive_s: float) -> dict[str, Any]:
    """Return options of `uvicorn.run` that limit connections; see `Connections`.

    Fewer than `most` are open where a process can open few files: all that arrive at once are
    accepted before the first is closed.
    """
    backlog = max(16, min(MOST_BACKLOG, open_files() // 4))
    among = Connections(max(16, min(most, (open_files() - backlog) // 2)), receive_s)
    return {
        "http": partial(Connection, among=among),
        "ws": "none",
        "proxy_headers": False,
        "backlog": backlog,
        "timeout_keep_alive": IDLE_S,
        "timeout_graceful_shutdown": GRACE_S,
    }


def open_files() -> int:
    """Return how many files this process can open; at most 65,536 without a limit."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 512
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**16 if limit == resource.RLIM_INFINITY else limit
