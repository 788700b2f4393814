"""The driver, the one process that runs a search: its lock, background start and stop request.

The driver holds the file lock `results/.<slug>.lock` while it lives and writes its process id into
it. The file is therefore also the pid file: a stop request goes to the process that the kernel
reports as the lock's holder.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from tunefront.search.cluster.machine_check import check_machine
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import log_path
from tunefront.search.study.lock import HeldLock, Locked, hold_lock, holder, note_of
from tunefront.search.text import OnMessage, command_text
from tunefront.spaces import StudyError

START_POLL_S = 0.1
SECOND_S = 2.0
_TIME_OF_DAY = re.compile(r"^\d\d:\d\d:\d\d ")


def lock_path(experiment: Experiment) -> Path:
    """Return the path of the driver's lock file."""
    return experiment.results.parent / f".{experiment.slug}.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverState:
    """What a driver notes in its lock file.

    Attributes:
        planned: Number of trials of the search; None without a bound.
        checked: Whether model and data have been checked, so that the search runs by itself.
    """

    planned: int | None = None
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Driver:
    """This process as the driver of a search.

    Attributes:
        lock: Its lock.
    """

    lock: HeldLock

    def note(self, state: DriverState) -> None:
        """Note the state, for `status` and `run --detach`."""
        self.lock.note(json.dumps(asdict(state)))


@contextmanager
def only_driver(experiment: Experiment) -> Iterator[Driver]:
    """Hold the driver lock of a search, so that this process is its only driver.

    Raises:
        StudyError: If another process holds the lock.
    """
    experiment.results.mkdir(parents=True, exist_ok=True)
    path = lock_path(experiment)
    try:
        with hold_lock(path) as lock:
            _stop_request_path(experiment).unlink(missing_ok=True)
            yield Driver(lock)
    except Locked as error:
        raise StudyError(
            f"{experiment.name} is being run already (lock: {path}); "
            f"see `{command_text('status', experiment.path)}`"
        ) from error


def driver_of(experiment: Experiment) -> int | None:
    """Return the driver's process id; None if none runs.

    0 if its id is unknown: a process of another user, container or machine.
    """
    return holder(lock_path(experiment))


def driver_state(experiment: Experiment) -> DriverState | None:
    """Return what the driver has noted; None if none runs or it has noted nothing yet."""
    if driver_of(experiment) is None:
        return None
    try:
        return DriverState(**json.loads(note_of(lock_path(experiment))))
    except ValueError:
        return None


def detach(experiment: Experiment, arguments: Sequence[str], on_message: OnMessage) -> int:
    """Start a driver in the background; return once it has checked model and data.

    Args:
        experiment: The experiment.
        arguments: The arguments of its `tunefront run`.
        on_message: Called with one line per event, those of the driver included.

    Returns:
        0 once the search runs by itself; the driver's exit code if it exits before.

    Raises:
        MachineError: If the search can't run on this machine.
        StudyError: If the search already has a driver.
    """
    check_machine(experiment.results)
    with only_driver(experiment):
        pass  # only a check; the new process locks it, or fails if another one was faster
    log = log_path(experiment)
    start = log.stat().st_size if log.is_file() else 0
    process = _start(["run", *arguments], log)
    with log.open("rb") as output:
        output.seek(start)
        output.readline()  # the time of the start
        code = _early_exit_code(experiment, process, lambda: _relay(output, on_message))
        _relay(output, on_message)
    if code is not None:
        return code
    smoke = ["--smoke"] if experiment.smoke else []
    on_message(f"{experiment.name} runs in the background (pid {process.pid})")
    on_message(f"watch: {command_text('status', experiment.path, *smoke, '--watch')}")
    on_message(f"stop:  {command_text('stop', experiment.path, *smoke)}")
    on_message(f"log:   {log}")
    return 0


def _start(arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start the command line in a new session, so that it outlives the terminal."""
    command = [sys.executable, "-P", "-m", "tunefront.search.cli", *arguments]
    with log.open("ab") as output:
        output.write(f"--- {datetime.now():%Y-%m-%d %H:%M:%S} ---\n".encode())
        output.flush()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _early_exit_code(
    experiment: Experiment, process: "subprocess.Popen[bytes]", relay: Callable[[], None]
) -> int | None:
    """Return the exit code of a driver that exits before its search runs by itself; else None.

    A driver without anything left to run exits with 0.
    """
    while (code := process.poll()) is None:
        relay()
        state = driver_state(experiment)
        if state is not None and state.checked and driver_of(experiment) == process.pid:
            return None
        time.sleep(START_POLL_S)
    return code


def _relay(log: IO[bytes], on_message: OnMessage) -> None:
    """Report the lines that the driver has written since the last call."""
    while (line := log.readline()).endswith(b"\n"):
        on_message(_TIME_OF_DAY.sub("", line.decode(errors="replace").rstrip("\n")))
    log.seek(-len(line), os.SEEK_CUR)  # the rest of the line follows


def request_stop(experiment: Experiment, *, now: bool) -> int | None:
    """Send the driver SIGTERM, so that it finishes its running trials and exits.

    A repeated call with `now` unset sends no second signal.

    Args:
        experiment: The experiment.
        now: Drop the running trials: send SIGTERM a second time.

    Returns:
        The driver's process id; None if none runs.

    Raises:
        StudyError: If the driver can't be signalled: another user, container or machine.
    """
    pid = driver_of(experiment)
    if pid is None:
        return None
    request = _stop_request_path(experiment)
    already = request.is_file() and request.read_text() == str(pid)
    try:
        if not already:
            _signal(experiment, pid)
            request.write_text(str(pid))
            if now:
                time.sleep(SECOND_S)
        if now and driver_of(experiment) == pid:
            _signal(experiment, pid)
    except PermissionError as error:
        raise _out_of_reach(experiment) from error
    return pid


def _signal(experiment: Experiment, pid: int) -> None:
    if pid == 0:
        raise _out_of_reach(experiment)
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return  # it has exited already


def _out_of_reach(experiment: Experiment) -> StudyError:
    return StudyError(
        f"{experiment.name} is being run by a process of another user, container or machine "
        f"(lock: {lock_path(experiment)}); end it there"
    )


def _stop_request_path(experiment: Experiment) -> Path:
    """Return the path of the file with the id of the driver that has received a stop request."""
    return experiment.results.parent / f".{experiment.slug}.stopping"
