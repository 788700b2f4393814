"""A server's process: started under a guard, watched until it is ready, and stopped."""

import http.client
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil

from tunefront.evaluators.isolation.child.failure import cause_of_text
from tunefront.evaluators.measures.processes import with_descendants
from tunefront.spaces import EvaluationError, FailureCause

LOOPBACK = "127.0.0.1"
_GUARD = str(Path(__file__).with_name("guard.py"))
STOP_S = 20.0
"""Seconds that a server has to end after SIGTERM."""
WATCH_S = 0.1
READY_ANSWER_S = 5.0
"""Seconds in which a request for readiness must be answered; otherwise it is sent again."""
SHOWN_LINES, LOGGED_LINES = 5, 40
"""Last lines of a server's output in a message, and in the trial's log."""
MESSAGE_CHARACTERS = 500
_BAD_FLAG = (
    "unrecognized argument",  # argparse
    "invalid choice",
    "no such option",  # click
    "unknown option",
    "unrecognized option",  # getopt
    "invalid argument",  # llama.cpp
    "unexpected argument",  # clap, of programs in Rust
    "unknown flag",
)
"""Texts of programs that do not know a flag or its value, in lower case."""


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


class ServerProcess:
    """A server that runs as long as this object is open.

    Args:
        command: The words of the command.
        port: The port on which it serves.
        cores: The cores that it can run on.
        environment: Its environment.

    Raises:
        EvaluationError: If the command can't be started (cause "unsupported").
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        cores: Sequence[int],
        environment: Mapping[str, str],
    ) -> None:
        self._port = port
        self._folder = tempfile.TemporaryDirectory(prefix="server-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "output.log"
        self._exit: int | None = None
        with self._log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", _GUARD, ",".join(map(str, cores)), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder.name,
                env=environment,
                bufsize=0,
                start_new_session=True,
            )
        started = self._message()
        if "pid" not in started:
            self._release()
            raise EvaluationError(
                f"the server can't be started: {started.get('error', 'the guard has ended')}; "
                "correct server.command, or install the program",
                cause="unsupported",
            )
        self.pid = int(started["pid"])
        """Id of the process that was started."""

    @property
    def messages(self) -> int:
        """File descriptor that can be read when the server has ended."""
        assert self._guard.stdout is not None
        return self._guard.stdout.fileno()

    def wait_until_ready(self, path: str, limit_s: float) -> None:
        """Wait until a path is answered with status 200 by a process of this server.

        Raises:
            EvaluationError: If the server ends (cause "crash", "oom" or "unsupported"), is not
                ready in time (cause "timeout"), or another process listens on its port (cause
                "unsupported").
        """
        deadline = time.monotonic() + limit_s
        while self._status(path) != http.client.OK:
            self.check(f"before it was ready at {path}")
            if time.monotonic() > deadline:
                self._fail(
                    f"the server was not ready after {limit_s:g} s: {path} was not answered with "
                    "status 200; set server.ready and server.start_s",
                    "timeout",
                )
            time.sleep(WATCH_S)
        if not self.listeners():
            self.check("while another process listened on its port")
            self._fail(
                f"port {self._port} is served by a process that the command did not start; let "
                "the command itself be the server, without a service or container in between",
                "unsupported",
            )

    def check(self, when: str = "while it served requests") -> None:
        """Raise an error if the server has ended.

        Raises:
            EvaluationError: With the cause that its last lines or its signal show: "oom",
                "unsupported" for a flag that it does not know, else "crash".
        """
        if self._exit is None:
            if not select.select([self.messages], [], [], 0)[0]:
                return
            self._exit = int(self._message().get("exit", -9))
        ended = f"exit code {self._exit}" if self._exit >= 0 else f"signal {-self._exit}"
        self._fail(f"the server ended with {ended} {when}", self._cause(self._exit))

    def wait_for_end(self, limit_s: float) -> None:
        """Wait until the server has ended, at most `limit_s` seconds."""
        if self._exit is None:
            select.select([self.messages], [], [], limit_s)

    def listeners(self) -> list[psutil.Process]:
        """Return the server's processes that listen on its port."""
        found: list[psutil.Process] = []
        for pid in with_descendants(self.pid):
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                sockets = process.net_connections("tcp")
                ports = [one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN]
                if self._port in ports:
                    found.append(process)
        return found

    def cores(self) -> int:
        """Return the number of cores that the server can run on."""
        return len(os.sched_getaffinity(self.pid))

    def close(self) -> None:
        """Stop the server: SIGTERM, after `STOP_S` seconds SIGKILL, to all of its processes."""
        assert self._guard.stdin is not None
        with suppress(BrokenPipeError):
            self._guard.stdin.write(f"stop {STOP_S:g}\n".encode())
        self._guard.wait()
        self._release()

    def _release(self) -> None:
        assert self._guard.stdin is not None and self._guard.stdout is not None
        with suppress(BrokenPipeError):
            self._guard.stdin.close()
        self._guard.wait()
        self._guard.stdout.close()
        self._folder.cleanup()

    def _message(self) -> Mapping[str, Any]:
        """Return the next message of the guard; empty if it has ended without one."""
        assert self._guard.stdout is not None
        line = self._guard.stdout.readline()
        found: Mapping[str, Any] = json.loads(line) if line else {}
        return found

    def _status(self, path: str) -> int:
        """Return the status of a request; 0 if it is not answered."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=READY_ANSWER_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _cause(self, code: int) -> FailureCause:
        text = "\n".join(self._last_lines(LOGGED_LINES))
        if code == -9 or cause_of_text(text) == "oom":
            return "oom"
        if any(one in text.lower() for one in _BAD_FLAG):
            return "unsupported"
        return cause_of_text(text) or "crash"

    def _fail(self, message: str, cause: FailureCause) -> NoReturn:
        """Raise an error with the server's last lines; write more of them to this process's log."""
        lines = self._last_lines(LOGGED_LINES)
        print("the server's last lines:", *lines, sep="\n", file=sys.stderr, flush=True)
        shown = " | ".join(lines[-SHOWN_LINES:])[-MESSAGE_CHARACTERS:]
        raise EvaluationError(f"{message}; its last lines: {shown or '(none)'}", cause=cause)

    def _last_lines(self, count: int) -> list[str]:
        """Return the last lines of the output that are not blank."""
        with suppress(OSError), self._log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - 2**16))
            text = stream.read().decode(errors="replace")
            return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
        return []
