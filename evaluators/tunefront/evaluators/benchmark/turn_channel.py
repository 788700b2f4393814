"""Turn channel: one process runs, the others block on a socket until they are called.

The calling side is a `TurnChannel`, each process has a `TurnClient`. Messages are JSON objects,
one per line, over a Unix socket in a folder that only this user can access.
"""

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tunefront.evaluators.isolation.interim import socket_folder
from tunefront.spaces import EvaluationError

ADDRESS = "turns"
CHANNEL_POLL_S = 0.5
"""Seconds without a message after which the awaited processes are checked."""

Gone = Callable[[int], None]
"""Checks the process with that number; raises an error if it has ended."""


class TurnClient:
    """A turn client: receives the calls of the turn channel and replies.

    Args:
        address: Path of the channel's socket.
        place: Number of this process.
    """

    def __init__(self, address: str, place: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(address)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self.send_reply({"place": place, "pid": os.getpid()})

    def send_reply(self, message: Mapping[str, Any]) -> None:
        """Send a message."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def calls(self) -> Iterator[str]:
        """Yield the name of each call (`warm`, `block`, ...) until the channel is closed."""
        for line in self._lines:
            yield json.loads(line)["call"]


class TurnChannel:
    """A turn channel: calls processes, one group at a time, and collects their replies.

    Args:
        places: Number of processes that will connect.
    """

    def __init__(self, places: int) -> None:
        self._folder = contextlib.ExitStack()
        self.address = str(self._folder.enter_context(socket_folder()) / ADDRESS)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen(places)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._connected: dict[int, socket.socket] = {}
        self._pending: dict[socket.socket, bytes] = {}
        self._replies: dict[int, Mapping[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, which ends `TurnClient.calls`; remove the socket."""
        for connection in [self._listener, *self._pending]:
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection)
            connection.close()
        self._selector.close()
        self._folder.close()

    def connected(
        self, places: Sequence[int], timeout_s: float, gone: Gone
    ) -> list[Mapping[str, Any]]:
        """Wait until some processes have connected; return their first messages, with `pid`.

        Args:
            places: Numbers of the processes.
            timeout_s: Longest wait in seconds.
            gone: Checks a process that sends nothing.

        Raises:
            EvaluationError: If `timeout_s` seconds have passed, or as `gone` raises it.
        """
        known = self._connected.keys() - self._replies.keys()  # these have been returned before
        return self.replies([place for place in places if place not in known], timeout_s, gone)

    def call(
        self, places: Sequence[int], word: str, timeout_s: float, gone: Gone
    ) -> list[Mapping[str, Any]]:
        """Call some processes at the same time; return their replies in the order of `places`.

        Args:
            places: Numbers of the processes.
            word: Name of the call.
            timeout_s: Longest wait in seconds.
            gone: Checks a process that sends nothing.

        Raises:
            EvaluationError: If `timeout_s` seconds have passed, or as `gone` raises it.
        """
        self.send(places, word)
        return self.replies(places, timeout_s, gone)

    def send_end(self, places: Sequence[int]) -> None:
        """Send `end` to some processes: there are no more turns."""
        self.send(places, "end")

    def send(self, places: Sequence[int], word: str) -> None:
        """Send a call; a process that has exited is detected while waiting for its reply."""
        message = json.dumps({"call": word}).encode() + b"\n"
        for place in places:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, KeyError):
                self._connected[place].sendall(message)

    def replies(
        self, places: Sequence[int], timeout_s: float, gone: Gone
    ) -> list[Mapping[str, Any]]:
        """Wait for the replies to `send`; return them in the order of `places`.

        A reply that arrives while other replies are awaited is stored for a later call.

        Args:
            places: Numbers of the processes.
            timeout_s: Longest wait in seconds.
            gone: Checks a process that sends nothing.

        Raises:
            EvaluationError: If `timeout_s` seconds have passed, or as `gone` raises it.
        """
        deadline = time.monotonic() + timeout_s
        while not self._replies.keys() >= set(places):
            if time.monotonic() > deadline:
                raise EvaluationError(
                    f"not done after {timeout_s:g} s (see `timeouts`)", cause="timeout"
                )
            ready = self._selector.select(timeout=CHANNEL_POLL_S)
            for key, _ in ready:
                self._replies.update(self._received(key.fileobj))  # type: ignore[arg-type]
            if not ready:
                for place in places:
                    gone(place)
        return [self._replies.pop(place) for place in places]

    def _received(self, source: socket.socket) -> list[tuple[int, Mapping[str, Any]]]:
        """Receive from one socket; return each complete message with the number of its process."""
        if source is self._listener:
            connection, _ = self._listener.accept()
            self._selector.register(connection, selectors.EVENT_READ, None)
            self._pending[connection] = b""
            return []
        try:
            block = source.recv(1 << 20)
        except ConnectionResetError:  # the process exited before it read a call
            block = b""
        if not block:
            self._selector.unregister(source)
            return []
        *lines, self._pending[source] = (self._pending[source] + block).split(b"\n")
        return [self._with_place(source, json.loads(line)) for line in lines]

    def _with_place(
        self, source: socket.socket, message: Mapping[str, Any]
    ) -> tuple[int, Mapping[str, Any]]:
        if "place" in message:
            self._connected[int(message["place"])] = source
        place = next(place for place, connection in self._connected.items() if connection is source)
        return place, message
