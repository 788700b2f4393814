"""A lock on a file that says who holds it; the kernel ends it with its holder."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LOCK_ATTEMPTS = 5
PAUSE_S = 0.1
"""Who only looks whether a lock is held takes it for an instant; that is waited for."""


class Locked(Exception):
    """Another process holds the lock."""


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock; the file holds this process's id meanwhile.

    Raises:
        Locked: If another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _take(file, path)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _take(file: TextIO, path: Path) -> None:
    for attempt in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if attempt == LOCK_ATTEMPTS - 1:
                raise Locked(str(path)) from error
        time.sleep(PAUSE_S)


def holder(path: Path) -> int | None:
    """Who holds a lock, by process id.

    Returns:
        None where nobody holds it; 0 where its holder can't be told: it is another user's, or runs
        in another container or on another machine.
    """
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                written = file.read().strip()
                pid = int(written) if written.isdigit() else 0
                return pid if pid and _has_open(pid, path) else 0
    except FileNotFoundError:
        pass
    return None


def _has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open: an id that was written long ago proves nothing."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return any(_same(f"/proc/{pid}/fd/{name}", path) for name in names)


def _same(descriptor: str, path: Path) -> bool:
    try:
        return os.path.samefile(descriptor, path)
    except OSError:
        return False
