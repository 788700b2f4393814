"""A file lock with its holder's process id and a note; the kernel releases it when that exits."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

LOCK_ATTEMPTS = 5
PAUSE_S = 0.1
"""Pause between attempts. `holder()` briefly takes a shared lock, so `hold_lock` retries before
it reports the lock as taken."""


class Locked(Exception):
    """Another process holds the lock."""


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that this process holds.

    Attributes:
        file: Its open file.
    """

    file: TextIO

    def note(self, text: str) -> None:
        """Write this process's id and a note of one line, which replaces an earlier one."""
        self.file.truncate(0)
        self.file.write(f"{os.getpid()}\n{text}" if text else str(os.getpid()))
        self.file.flush()


@contextmanager
def hold_lock(path: Path) -> Iterator[HeldLock]:
    """Hold an exclusive lock; while it is held, the file contains this process's id and a note.

    Raises:
        Locked: If another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _take(file, path)
        held = HeldLock(file)
        held.note("")
        try:
            yield held
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
    """Return the id of the process that holds a lock.

    Returns:
        None if the lock is free; 0 if the holder cannot be identified: it belongs to another user,
        or runs in another container or on another machine.
    """
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                written = file.readline().strip()
                pid = int(written) if written.isdigit() else 0
                return pid if pid and _has_open(pid, path) else 0
    except FileNotFoundError:
        pass
    return None


def note_of(path: Path) -> str:
    """Return the note of a lock; empty if there is none."""
    try:
        return path.read_text().partition("\n")[2]
    except OSError:
        return ""


def _has_open(pid: int, path: Path) -> bool:
    """Return whether the process has the file open; an old id in the file can be outdated."""
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
