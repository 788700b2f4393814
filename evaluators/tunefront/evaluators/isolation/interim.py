"""Interim reports of a running task, and the decisions that the parent process replies.

Messages are JSON objects, one per line, over a Unix socket. Each process of a task has its own
connection.
"""

import json
import os
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self, cast

from tunefront.evaluators.statistics.measurement import Measurement

from .codec import from_plain, to_plain
from .private_folder import TEMPORARY
from .scratch import scratch_folder

INTERIM_ADDRESS = "TUNEFRONT_INTERIM"
"""Environment variable with the path of the socket; not set if there is no monitor."""
LONGEST_ADDRESS = 100
"""Longest path of a socket in characters, a little below the limit of the system."""
SOCKET_NAME_LENGTH = 50
"""Longest part of that path below the folder for temporary files."""
SHUTDOWN_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Interim:
    """An interim report.

    Attributes:
        step: Number of the step, for example of an optimizer's; it grows with each report.
        measurements: Measurements so far, by metric.
    """

    step: int
    measurements: Mapping[str, Measurement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision on an interim report.

    Attributes:
        stop: Whether the task is to stop early and return its result so far.
        reason: Why; empty without a reason.
    """

    stop: bool = False
    reason: str = ""


Monitor = Callable[[Interim], Decision]
"""Decides on interim reports; called in a thread of the parent process."""


def report_interim(interim: Interim) -> Decision:
    """Send an interim report from a task and wait for the decision.

    In a task of several processes, all that report the same step get the same decision: the one on
    the report of rank 0. Without a monitor the decision is to continue.
    """
    address = os.environ.get(INTERIM_ADDRESS)
    if address is None:
        return Decision()
    stream = _connection(address)
    message = {"rank": int(os.environ.get("RANK", "0")), "interim": to_plain(interim)}
    stream.write(json.dumps(message) + "\n")
    stream.flush()
    return from_plain(Decision, json.loads(stream.readline()))


@cache
def _connection(address: str) -> Any:
    """Return this process's stream to the monitor, connected on first use."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    return connection.makefile("rw", encoding="utf-8")


@contextmanager
def socket_folder() -> Iterator[Path]:
    """Create a folder that only this user can access, whose path is short enough for sockets.

    It is in the folder for temporary files, or in `/tmp` if that one has a long path.
    """
    long = len(tempfile.gettempdir()) > LONGEST_ADDRESS - SOCKET_NAME_LENGTH
    with scratch_folder(TEMPORARY if long else None) as folder:
        yield folder


class InterimServer(socketserver.ThreadingUnixStreamServer):
    """Receives the interim reports of one task and replies with the monitor's decisions.

    Leaving the context raises the monitor's error, if it raised one.

    Args:
        monitor: Decides on the reports.
    """

    daemon_threads = True

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._folder = ExitStack()
        self.address = str(self._folder.enter_context(socket_folder()) / "monitor")
        self._decided: dict[int, Decision] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._error: Exception | None = None
        super().__init__(self.address, _InterimHandler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(SHUTDOWN_POLL_S,), daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.shutdown()
        self._thread.join()
        self.server_close()
        self._folder.close()
        if self._error is not None:
            raise self._error

    def decide(self, rank: int, interim: Interim) -> Decision:
        """Return the decision on a report; for other ranks wait for the report of rank 0."""
        with self._changed:
            if rank == 0:
                self._decided[interim.step] = self._decision(interim)
                self._changed.notify_all()
            else:
                self._changed.wait_for(lambda: interim.step in self._decided or self._closed)
            return self._decided.get(interim.step, Decision(stop=True))

    def _decision(self, interim: Interim) -> Decision:
        try:
            return self._monitor(interim)
        except Exception as error:  # raised again when the context is left
            self._error = error
            return Decision(stop=True, reason=f"the monitor failed: {error}")

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors of a connection: its process has exited, which `Child` reports."""


class _InterimHandler(socketserver.StreamRequestHandler):
    """Replies to the reports of one process."""

    def handle(self) -> None:
        """Reply to each line until the connection is closed."""
        server = cast(InterimServer, self.server)
        for line in self.rfile:
            message = json.loads(line)
            interim = from_plain(Interim, message["interim"])
            decision = server.decide(int(message["rank"]), interim)
            self.wfile.write(json.dumps(to_plain(decision)).encode() + b"\n")
