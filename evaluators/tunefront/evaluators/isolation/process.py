"""Runs each task in fresh processes, which isolates memory, threads and crashes.

One fork server for each import profile (forkserver.py) reduces the cost of a fresh process from the
seconds that imports take to milliseconds.
"""

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, cast

from tunefront.evaluators.store.disk import full_folder
from tunefront.spaces import EvaluationError, FailureCause, WorkloadError

from .child.environment import interpreter_environment, server_environment
from .child.failure import cause_of_text, last_written
from .codec import from_plain, to_plain
from .cores import Lessee, OnWait, wait_unreported
from .gpus import lease_cores_and_gpus
from .interim import INTERIM_ADDRESS, InterimServer, Monitor
from .preload import COLLECTING
from .scratch import scratch_folder
from .task import ResultT, Task

IMPORT_TIMEOUT_S = 900.0
"""Seconds in which a fork server must have imported its libraries; they are no task's time."""
LOG_LINES = 20
MOST_LOG_BYTES = 64 * 2**20
"""Largest log of a task; a task that writes more is killed."""
KEPT_LOG_BYTES = 256 * 2**10
"""Size of the end of a log that is kept after the task."""
LOG_POLL_S = 1.0
"""Interval in seconds at which the log size of a running task is checked."""
DISK_EXPLAINS: tuple[FailureCause, ...] = ("exception", "crash", "unsupported")
"""Failure causes that are reported as "disk full" if a disk that the task writes to is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which terms tasks run.

    Attributes:
        lessee: What cores and GPUs are leased for; this process if None.
        on_wait: Called when a wait for them begins, changes and ends.
        deadline: Time on the monotonic clock at which tasks and waits end; None without one.
    """

    lessee: Lessee | None = None
    on_wait: OnWait = wait_unreported
    deadline: float | None = None


class Isolation:
    """Runs tasks in fresh processes; `close`, or the exit of this process, kills them all.

    Args:
        lessee: What cores and GPUs are leased for; this process if None.
        on_wait: Called when a wait for them begins, changes and ends.

    Attributes:
        devices: Names of the GPUs of the current lease, for `Task.devices`.
    """

    def __init__(self, lessee: Lessee | None = None, on_wait: OnWait = wait_unreported) -> None:
        self.devices: tuple[str, ...] = ()
        self._terms = Terms(lessee=lessee, on_wait=on_wait)
        self._servers: dict[tuple[str, ...], _Server] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def on_terms(self, terms: Terms) -> Iterator[None]:
        """Run tasks and lease cores under other terms until the context is left."""
        before, self._terms = self._terms, terms
        try:
            yield
        finally:
            self._terms = before

    def within(self, timeout_s: float) -> float:
        """Return a timeout in seconds, shortened to the deadline."""
        if self._terms.deadline is None:
            return timeout_s
        return max(0.0, min(timeout_s, self._terms.deadline - time.monotonic()))

    @contextlib.contextmanager
    def cores(self, count: int, gpus: int = 0) -> Iterator[Sequence[int]]:
        """Lease physical cores for `count` threads, and GPUs, which `devices` names meanwhile.

        See `lease_cores_and_gpus`.

        Raises:
            EvaluationError: With the cause "timeout", if they are not free at the deadline; with
                the cause "device", if too few GPUs can be used.
        """
        terms, before = self._terms, self.devices
        with lease_cores_and_gpus(
            count, gpus, lessee=terms.lessee, on_wait=terms.on_wait, deadline=terms.deadline
        ) as leased:
            self.devices = leased.devices
            try:
                yield leased.cores
            finally:
                self.devices = before

    def run(self, task: Task[ResultT], monitor: Monitor | None = None) -> ResultT:
        """Run a task and return its result.

        Args:
            task: The task.
            monitor: Decides on the task's interim reports.

        Raises:
            EvaluationError: With its cause, if the task failed, crashed or timed out.
            WorkloadError: If the error is in the user's model or data.
        """
        with self.start(task, monitor) as child:
            return child.result()

    @contextlib.contextmanager
    def start(
        self, task: Task[ResultT], monitor: Monitor | None = None
    ) -> "Iterator[Child[ResultT]]":
        """Start a task; when the context closes, its process groups are killed."""
        task = replace(task, timeout_s=self.within(task.timeout_s))
        task.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with scratch_folder() as scratch, _monitored(monitor) as environment:
                child = Child(task, scratch, self.within(IMPORT_TIMEOUT_S))
                try:
                    # A fresh interpreter imports its libraries itself.
                    child.start(self._server(() if task.devices else task.imports), environment)
                    yield child
                finally:
                    child.end()
        finally:
            cut_log(task.log)

    def warm(self, imports: Sequence[str]) -> None:
        """Start the fork server with these imports without waiting for them."""
        self._server(imports)

    def close(self) -> None:
        """Stop all fork servers and kill their children."""
        with self._lock:
            for server in self._servers.values():
                server.close()
            self._servers.clear()

    def _server(self, imports: Sequence[str]) -> "_Server":
        profile = tuple(imports)
        with self._lock:
            server = self._servers.get(profile)
            if server is not None and not server.alive:
                server.close()
                server = None
            if server is None:
                server = self._servers[profile] = _Server(profile)
            return server


@contextlib.contextmanager
def _monitored(monitor: Monitor | None) -> Iterator[Mapping[str, str]]:
    """Serve interim reports; yields the environment variables with the address for a task."""
    if monitor is None:
        yield {}
        return
    with InterimServer(monitor) as server:
        yield {INTERIM_ADDRESS: server.address}


class _Server:
    """Client of one fork server."""

    def __init__(self, imports: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tunefront.evaluators.isolation.forkserver", *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=server_environment(timed=COLLECTING in imports),
        )
        self._receivers: dict[int, Receiver] = {}
        self._numbers = itertools.count()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether the fork server is still running."""
        return self._process.poll() is None

    def fork(self, request: Mapping[str, object], receive: "Receiver") -> None:
        """Request a child; `receive` gets the messages about it, in another thread.

        Raises:
            EvaluationError: With the cause "crash", if the fork server has exited.
        """
        number = next(self._numbers)
        self._receivers[number] = receive
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({**request, "id": number}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise EvaluationError(f"fork server ended: {self._last_words()}", "crash") from error

    def close(self) -> None:
        """Stop the fork server, which kills its children; kill it if that takes over 10 s."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # buffered requests that it can't read any more
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout=10)
        self._errors.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                message = json.loads(line)
                if "id" not in message:
                    continue
                receive = self._receivers[message["id"]]
                if "status" in message:
                    del self._receivers[message["id"]]
                receive(message)
        for receive in list(self._receivers.values()):
            receive({"ended": True})

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return " | ".join(lines[-3:])


Receiver = Callable[[Mapping[str, Any]], None]
"""Gets the messages about one child of a fork server: `pid`, then `status`, or `ended`.

A pid comes with `started`, and again if that was false: whether the imports are done.
"""


class Child(Generic[ResultT]):
    """The running processes of a task.

    Args:
        task: The task.
        scratch: Folder for its files.
        import_timeout_s: Seconds in which the fork server must have started the processes.
    """

    def __init__(
        self, task: Task[ResultT], scratch: Path, import_timeout_s: float = IMPORT_TIMEOUT_S
    ) -> None:
        self._task = task
        self._scratch = scratch
        self._import_timeout_s = import_timeout_s
        self._unstarted = set(range(task.processes))
        self._started_at: float | None = None
        self._messages: queue.Queue[tuple[int, Mapping[str, Any]]] = queue.Queue()
        self._pids: dict[int, int] = {}
        self._left = set(range(task.processes))
        self._log_begin = task.log.stat().st_size if task.log.exists() else 0
        self._plain: object = None
        self._error: EvaluationError | WorkloadError | None = None
        self._ending = False

    def start(self, server: _Server, environment: Mapping[str, str]) -> None:
        """Request all processes from a fork server; called once.

        Args:
            server: The fork server.
            environment: Environment variables set in addition to the task's.
        """
        for rank in range(self._task.processes):
            server.fork(self._request(rank, environment), partial(self._receive, rank))

    def _request(self, rank: int, environment: Mapping[str, str]) -> dict[str, object]:
        task = self._task
        work = self._scratch / f"work-{rank}"
        work.mkdir()
        return {
            "function": task.function,
            "request": to_plain(task.request),
            "imports": list(task.imports),
            "needs": list(task.needs),
            "fresh": bool(task.devices),
            "result": str(self._result_file(rank)),
            "log": str(task.log),
            "scratch": str(work),
            "cores": list(task.cores_of(rank)),
            "environment": self._environment(rank, environment),
            "paths": list(task.paths),
            "memory_mb": task.memory_mb,
        }

    def _environment(self, rank: int, environment: Mapping[str, str]) -> dict[str, str]:
        """Return what a fork's environment is updated with, or all of a fresh interpreter's."""
        task = self._task
        own = {**task.environment_of(rank, self._scratch / "rendezvous"), **environment}
        if not task.devices:
            return own
        return interpreter_environment(own, len(task.cores_of(rank)))

    def _result_file(self, rank: int) -> Path:
        return self._scratch / f"result-{rank}.json"

    def _receive(self, rank: int, message: Mapping[str, Any]) -> None:
        """Take a message of the fork server; runs in its listening thread."""
        self._messages.put((rank, message))
        if self._ending:  # its pid was not known yet when the task was killed
            self.end()

    def result(self) -> ResultT:
        """Wait for the result; raises as `Isolation.run` does.

        The processes have `timeout_s` from now, or from their start if that is later: the time
        that the fork server needs for its imports is not theirs.
        """
        begin = time.monotonic()
        while self._left:
            self._raise_error()
            try:
                wait_s = max(0.0, self._deadline(begin) - time.monotonic())
                self._note(*self._messages.get(timeout=min(wait_s, LOG_POLL_S)))
            except queue.Empty:
                self._check_log()
                if time.monotonic() < self._deadline(begin):
                    continue
                self.end()
                raise self._late() from None
        self._raise_error()
        return from_plain(self._task.result, self._plain)

    def wait_until_started(self) -> None:
        """Wait until the fork server has started all processes; raises as `Isolation.run` does."""
        until = time.monotonic() + self._import_timeout_s
        while self._unstarted and self._left:
            self._raise_error()
            try:
                self._note(*self._messages.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                self.end()
                raise self._late() from None

    def _deadline(self, begin: float) -> float:
        """Return the time on the monotonic clock at which the task is ended."""
        if self._started_at is None:
            return begin + self._import_timeout_s
        return max(begin, self._started_at) + self._task.timeout_s

    def _late(self) -> EvaluationError:
        if self._started_at is None:
            text = f"its libraries were not imported after {self._import_timeout_s:g} s"
        else:
            text = f"not done after {self._task.timeout_s:g} s (see `timeouts`)"
        return EvaluationError(text, cause="timeout")

    def check(self) -> None:
        """Raise an error if the task has ended, even successfully, or its log is too large."""
        while not self._messages.empty():
            self._note(*self._messages.get())
        self._raise_error()
        if not self._left:
            raise EvaluationError("ended before its turn", cause="crash")
        self._check_log()

    def end(self) -> None:
        """Kill the process groups that are still running."""
        self._ending = True
        with contextlib.suppress(queue.Empty):
            while True:
                rank, message = self._messages.get_nowait()
                if "pid" in message:
                    self._pids[rank] = int(message["pid"])
                else:
                    self._pids.pop(rank, None)
        for pid in list(self._pids.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _note(self, rank: int, message: Mapping[str, Any]) -> None:
        """Process a message; on the first failure keep the error and kill the other processes."""
        if "pid" in message:
            self._pids[rank] = int(message["pid"])
            if message["started"]:
                self._unstarted.discard(rank)
            if not self._unstarted:
                self._started_at = time.monotonic()
            return
        self._pids.pop(rank, None)
        self._left.discard(rank)
        try:
            if "status" not in message:
                raise EvaluationError("fork server ended", cause="crash")
            plain = self._outcome(rank, int(message["status"]))
        except (EvaluationError, WorkloadError) as error:
            self._error = error
            self.end()
            return
        if rank == 0:
            self._plain = plain

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _check_log(self) -> None:
        """Kill the task and raise an error if its log exceeds `MOST_LOG_BYTES`."""
        log = self._task.log
        if log.exists() and log.stat().st_size > MOST_LOG_BYTES:
            self.end()
            raise EvaluationError(
                f"wrote more than {MOST_LOG_BYTES / 2**20:g} MB to its log; its end is in {log}",
                cause="crash",
            )

    def _outcome(self, rank: int, status: int) -> object:
        """Return a process's result or raise its error; see `DISK_EXPLAINS` for full disks."""
        try:
            return self._reported(rank, status)
        except EvaluationError as error:
            full = full_folder(self._written_to()) if error.cause in DISK_EXPLAINS else None
            several = self._task.processes > 1
            text = f"rank {rank} of {self._task.processes}: {error}" if several else f"{error}"
            if full is None:
                raise EvaluationError(text, cause=error.cause) from error
            raise EvaluationError(f"no room left in {full}: {text}", cause="disk full") from error

    def _cause_in_log(self) -> FailureCause | None:
        return cause_of_text(last_written(self._task.log, self._log_begin))

    def _written_to(self) -> list[Path]:
        """Return the folders that the task writes to."""
        folder = getattr(self._task.request, "folder", None)
        own = [folder] if isinstance(folder, Path) else []
        return [*own, self._scratch, self._task.log.parent]

    def _reported(self, rank: int, status: int) -> object:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name
            if number == signal.SIGKILL:
                raise EvaluationError("killed by SIGKILL: out of memory, most likely", cause="oom")
            # C++ writes the text of an error that nothing catches, and aborts.
            cause = self._cause_in_log() if number == signal.SIGABRT else None
            raise EvaluationError(f"crashed with {name}", cause=cause or "crash")
        result = self._result_file(rank)
        if not result.exists():
            code = os.waitstatus_to_exitcode(status)
            raise EvaluationError(f"ended with exit code {code} and no result", cause="crash")
        outcome = json.loads(result.read_text())
        if "error" not in outcome:
            return outcome["result"]
        if outcome["kind"] == "workload":
            raise WorkloadError(outcome["error"])
        raise EvaluationError(outcome["error"], cause=cast(FailureCause, outcome["kind"]))


def last_lines(log: Path, count: int = LOG_LINES) -> list[str]:
    """Return the last lines of a task's log; empty if there is no log."""
    if not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-count:]


def cut_log(log: Path, kept: int = KEPT_LOG_BYTES) -> None:
    """Cut a log to its last `kept` bytes; processes that append to it continue at the new end."""
    with contextlib.suppress(OSError), log.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size > kept:
            stream.seek(size - kept)
            end = stream.read()
            stream.seek(0)
            stream.write(end)
            stream.truncate()
