"""The other ranks of a sharded model: processes that end together, by the first error of one.

A rank that is lost leaves the others in a collective operation that ends only after minutes, with
an error that does not name the cause. A thread of rank 0 therefore watches the processes.
"""

import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tunefront.spaces import EvaluationError, FailureCause, named_error

READY_POLL_S = 0.02
LOST_RANK_S = 5.0
"""Seconds in which rank 0 must notice that another rank is lost, before its process is ended."""
RANK_END_S = 60.0
"""Seconds in which a rank must exit after it was ordered to."""
LINK_S = 1.0
"""Seconds after an error of rank 0 within which the loss of another rank explains it."""


class RankProcesses:
    """The processes of ranks 1 and further, watched by rank 0.

    Args:
        commands: The command of each rank, from rank 1; its process calls `run_rank`.
        folder: Folder in which the ranks report.
    """

    def __init__(self, commands: Sequence[Sequence[str]], folder: Path) -> None:
        self._folder = folder
        self._processes = [subprocess.Popen(command) for command in commands]
        self._ending = threading.Event()
        self._woken, self._wake = os.pipe()
        self._lost: EvaluationError | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids, from rank 1."""
        return tuple(process.pid for process in self._processes)

    @property
    def lost(self) -> bool:
        """Whether a rank has exited before it was ordered to."""
        return self._lost is not None

    def wait_until_ready(self) -> None:
        """Wait until each rank has called the function that `run_rank` gave it.

        Raises:
            EvaluationError: If one of them is lost.
        """
        ranks = range(1, len(self._processes) + 1)
        while not all(_ready_file(self._folder, rank).exists() for rank in ranks):
            self.check()
            time.sleep(READY_POLL_S)

    def check(self) -> None:
        """End all ranks and raise an error if one is lost.

        Raises:
            EvaluationError: The first error of a rank.
        """
        if self._lost is not None:
            self.kill()
            raise self._lost

    def explain(self) -> None:
        """Raise the error of a lost rank if there is one soon; called after an error of rank 0.

        Raises:
            EvaluationError: The first error of a rank.
        """
        deadline = time.monotonic() + LINK_S
        while time.monotonic() < deadline:
            self.check()
            time.sleep(READY_POLL_S)

    def expect_end(self) -> None:
        """Stop watching, before the ranks are ordered to exit."""
        if not self._ending.is_set():
            self._ending.set()
            os.close(self._wake)

    def wait(self) -> None:
        """Wait until the ranks have exited; kill those that have not after `RANK_END_S`."""
        self.expect_end()
        deadline = time.monotonic() + RANK_END_S
        for process in self._processes:
            try:
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self) -> None:
        """End the ranks at once."""
        self.expect_end()
        for process in self._processes:
            process.kill()
            process.wait()

    def _watch(self) -> None:
        """Wait, without using CPU time, until a rank exits or `expect_end` is called."""
        ends = [os.pidfd_open(process.pid) for process in self._processes]
        select.select([*ends, self._woken], [], [])
        for descriptor in (*ends, self._woken):
            os.close(descriptor)
        if self._ending.is_set():
            return
        self._lost = self._first_error()
        if not self._ending.wait(LOST_RANK_S):
            self._abort(self._lost)

    def _first_error(self) -> EvaluationError:
        """Return the first error of the ranks that have exited; one without a report was killed."""
        reports: dict[float, EvaluationError] = {}
        for rank, process in enumerate(self._processes, 1):
            if process.poll() is None:
                continue
            file = _error_file(self._folder, rank)
            if not file.exists():
                return _exit_error(rank, process.returncode)
            report = json.loads(file.read_text())
            reports[report["at"]] = EvaluationError(report["text"], cause=report["cause"])
        return reports[min(reports)]

    def _abort(self, error: EvaluationError) -> None:
        """End this process, whose main thread waits in a library for the lost rank.

        The last line of its log names the cause.
        """
        for process in self._processes:
            process.kill()
        faulthandler.disable()
        print(error, file=sys.stderr, flush=True)
        os.abort()


def _exit_error(rank: int, code: int) -> EvaluationError:
    if code == -signal.SIGKILL:
        text = f"rank {rank} was killed by SIGKILL: out of memory, most likely"
        return EvaluationError(text, cause="oom")
    how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return EvaluationError(f"rank {rank} {how}", cause="crash")


def _ready_file(folder: Path, rank: int) -> Path:
    return folder / f"ready-{rank}"


def _error_file(folder: Path, rank: int) -> Path:
    return folder / f"error-{rank}.json"


def run_rank(folder: Path, rank: int, body: Callable[[Callable[[], None]], None]) -> None:
    """Run a rank, and write its error for rank 0 if it fails.

    Args:
        folder: Folder in which the ranks report.
        rank: The rank, at least 1.
        body: Called with a function that reports that the rank is ready to join the others.
    """
    try:
        body(_ready_file(folder, rank).touch)
    except BaseException as error:
        cause: FailureCause = error.cause if isinstance(error, EvaluationError) else "exception"
        text = f"rank {rank}: {named_error(error)}"
        partial = folder / f".error-{rank}"
        partial.write_text(json.dumps({"text": text, "cause": cause, "at": time.monotonic()}))
        partial.rename(_error_file(folder, rank))
        raise


def rendezvous_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a new folder in which the ranks of a model find one another."""
    return tempfile.TemporaryDirectory(prefix="tunefront-", ignore_cleanup_errors=True)
