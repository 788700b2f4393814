"""Processes that take turns: one runs, the others sleep on a socket until they are called.

The side that calls is a `Turnstile`; each process holds a `Seat`. What is said is one JSON object a
line, over a socket of the file system that only this user can reach.
"""

import contextlib
import json
import selectors
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tunefront.spaces import EvaluationError

ADDRESS = "turns"
LONGEST_ADDRESS = 100
"""Characters that the system allows for a socket's path, less a few."""
CHANNEL_POLL_S = 0.5
"""How often a process that says nothing is looked after."""

Gone = Callable[[int], None]
"""Looks after a process that says nothing; raises where it has ended."""


class Seat:
    """A process's place: waits for its turn, answers.

    Args:
        address: The turnstile's socket.
        place: Which of the processes this is.
    """

    def __init__(self, address: str, place: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(address)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self.say({"place": place})

    def say(self, message: Mapping[str, Any]) -> None:
        """Answer."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def calls(self) -> Iterator[str]:
        """What it is called for, until the turnstile is closed."""
        for line in self._lines:
            yield json.loads(line)["call"]


class Turnstile:
    """Calls processes, one group at a time, and collects what they answer.

    Args:
        places: How many processes will sit down.
    """

    def __init__(self, places: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tunefront-")
        if len(self._folder.name) + len(ADDRESS) > LONGEST_ADDRESS:
            self._folder.cleanup()
            self._folder = tempfile.TemporaryDirectory(prefix="tunefront-", dir="/tmp")  # noqa: S108
        self.address = str(Path(self._folder.name, ADDRESS))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen(places)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._seats: dict[int, socket.socket] = {}
        self._pending: dict[socket.socket, bytes] = {}

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
        """Hang up; whoever sits here sees the end."""
        for connection in [self._listener, *self._pending]:
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection)
            connection.close()
        self._selector.close()
        self._folder.cleanup()

    def seated(
        self, places: Sequence[int], timeout_s: float, gone: Gone
    ) -> list[Mapping[str, Any]]:
        """Wait until some processes have sat down.

        Raises:
            EvaluationError: If one of them ended, or `timeout_s` seconds passed.
        """
        missing = [place for place in places if place not in self._seats]
        return self._answers(missing, timeout_s, gone)

    def call(
        self, places: Sequence[int], word: str, timeout_s: float, gone: Gone
    ) -> list[Mapping[str, Any]]:
        """Call some processes at the same time; their answers, in the order of `places`.

        Raises:
            EvaluationError: If one of them ended, or `timeout_s` seconds passed.
        """
        self._tell(places, word)
        return self._answers(places, timeout_s, gone)

    def dismiss(self, places: Sequence[int]) -> None:
        """Tell some processes that there are no more turns."""
        self._tell(places, "end")

    def _tell(self, places: Sequence[int], word: str) -> None:
        """What nobody hears any more is found out by whoever waits for the answer."""
        message = json.dumps({"call": word}).encode() + b"\n"
        for place in places:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, KeyError):
                self._seats[place].sendall(message)

    def _answers(
        self, places: Sequence[int], timeout_s: float, gone: Gone
    ) -> list[Mapping[str, Any]]:
        deadline = time.monotonic() + timeout_s
        answers: dict[int, Mapping[str, Any]] = {}
        while not answers.keys() >= set(places):
            if time.monotonic() > deadline:
                raise EvaluationError(
                    f"not done after {timeout_s:g} s (see `timeouts`)", cause="timeout"
                )
            ready = self._selector.select(timeout=CHANNEL_POLL_S)
            answers.update(m for key, _ in ready for m in self._heard(key.fileobj))  # type: ignore[arg-type]
            if not ready:
                for place in places:
                    gone(place)
        return [answers[place] for place in places]

    def _heard(self, source: socket.socket) -> list[tuple[int, Mapping[str, Any]]]:
        """What came in on one socket, with the place it came from."""
        if source is self._listener:
            connection, _ = self._listener.accept()
            self._selector.register(connection, selectors.EVENT_READ, None)
            self._pending[connection] = b""
            return []
        try:
            block = source.recv(1 << 20)
        except ConnectionResetError:  # it ended with a call unread
            block = b""
        if not block:
            self._selector.unregister(source)
            return []
        *lines, self._pending[source] = (self._pending[source] + block).split(b"\n")
        return [self._placed(source, json.loads(line)) for line in lines]

    def _placed(
        self, source: socket.socket, message: Mapping[str, Any]
    ) -> tuple[int, Mapping[str, Any]]:
        if "place" in message:
            self._seats[int(message["place"])] = source
        place = next(place for place, seat in self._seats.items() if seat is source)
        return place, message
