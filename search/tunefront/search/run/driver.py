"""The process that drives a search: one at a time, in the background where wanted, asked to end.

`results/.<slug>.lock` is held by the driver as long as it lives and holds its process id, so it is
the pid file, too: whoever is asked to end is the process that the kernel says is the driver.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import log_path
from tunefront.search.study.lock import Locked, hold_lock, holder
from tunefront.search.text import Say
from tunefront.spaces import StudyError

DRIVER_START_S = 60.0
SETTLE_S = 3.0
"""What is wrong from the start shows within this time of a driver's first breath."""
SECOND_S = 2.0
LAST_WORDS = 20


def lock_path(experiment: Experiment) -> Path:
    """The file that a driver holds."""
    return experiment.results.parent / f".{experiment.slug}.lock"


@contextmanager
def only_driver(experiment: Experiment) -> Iterator[None]:
    """Be the one driver of a search.

    Raises:
        StudyError: If there is one already.
    """
    experiment.results.mkdir(parents=True, exist_ok=True)
    path = lock_path(experiment)
    try:
        with hold_lock(path):
            _asked_path(experiment).unlink(missing_ok=True)
            yield
    except Locked as error:
        raise StudyError(
            f"{experiment.name} is being run already (lock: {path}); "
            f"look at it with `tunefront status {experiment.path}`"
        ) from error


def driver_of(experiment: Experiment) -> int | None:
    """The driver's process id; None where none runs, 0 where it can't be told from here."""
    return holder(lock_path(experiment))


def detach(experiment: Experiment, arguments: Sequence[str], say: Say) -> int:
    """Start a driver in the background.

    Args:
        experiment: What it searches.
        arguments: Of its `tunefront run`.
        say: Called with a line for everything that happens.

    Returns:
        0 as soon as it runs; its exit code where it ended at once.

    Raises:
        StudyError: If there is a driver already.
    """
    with only_driver(experiment):
        pass  # nobody holds it; the new process takes it, or says who was faster
    log = log_path(experiment)
    start = log.stat().st_size if log.is_file() else 0
    process = _start(["run", *arguments], log)
    code = _end_at_once(experiment, process)
    if code is not None:
        with log.open("rb") as output:
            output.seek(start)
            lines = output.read().decode(errors="replace").splitlines()
        say("\n".join(lines[-LAST_WORDS:]))
        return code
    smoke = " --smoke" if experiment.smoke else ""
    say(f"{experiment.name} runs in the background (pid {process.pid})")
    say(f"look:  tunefront status {experiment.path}{smoke} --watch")
    say(f"stop:  tunefront stop {experiment.path}{smoke}")
    say(f"log:   {log}")
    return 0


def _start(arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """The same command in a session of its own, which no terminal's end reaches."""
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


def _end_at_once(experiment: Experiment, process: "subprocess.Popen[bytes]") -> int | None:
    """Its exit code where it ends before it has settled; None where it runs on."""
    deadline = time.monotonic() + DRIVER_START_S
    while time.monotonic() < deadline and driver_of(experiment) != process.pid:
        if process.poll() is not None:
            return process.returncode
        time.sleep(0.1)
    try:
        return process.wait(timeout=SETTLE_S)
    except subprocess.TimeoutExpired:
        return None


def ask_to_end(experiment: Experiment, *, now: bool) -> int | None:
    """Ask the driver to finish what is running and to end; asking again changes nothing.

    Args:
        experiment: What it searches.
        now: Ask it to drop what is running.

    Returns:
        Its process id; None where none runs.

    Raises:
        StudyError: If it can't be reached from here.
    """
    pid = driver_of(experiment)
    if pid is None:
        return None
    asked = _asked_path(experiment)
    already = asked.is_file() and asked.read_text() == str(pid)
    try:
        if not already:
            _signal(experiment, pid)
            asked.write_text(str(pid))
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
        return  # it ended by itself


def _out_of_reach(experiment: Experiment) -> StudyError:
    return StudyError(
        f"{experiment.name} is being run by a process of another user, container or machine "
        f"(lock: {lock_path(experiment)}); end it there"
    )


def _asked_path(experiment: Experiment) -> Path:
    """Holds the process id of the driver that was asked to end."""
    return experiment.results.parent / f".{experiment.slug}.stopping"
