"""Free disk space, and detection of a full disk by error number, error text or free bytes."""

import errno
import math
import os
from collections.abc import Iterable
from pathlib import Path

from tunefront.spaces import text_of

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = tuple(os.strerror(number) for number in _NUMBERS)
NO_ROOM_BYTES = 2**20
"""A disk counts as full below this many free bytes."""


def is_full(error: BaseException) -> bool:
    """Return whether an error or one of its causes reports a full disk or an exhausted quota."""
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        if number in _NUMBERS or any(words in text_of(seen) for words in _WORDS):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def full_folder(folders: Iterable[Path]) -> Path | None:
    """Return the first folder whose disk is full, or None.

    Needed because writers in C++ fail without reporting that the disk is full.
    """
    return next((f for f in folders if f.is_dir() and free_bytes(f) < NO_ROOM_BYTES), None)


def free_bytes(path: Path) -> float:
    """Return the free bytes on the disk of a path; infinity if the file system reports no size."""
    state = _state(path)
    return state.f_bavail * state.f_frsize if state.f_blocks else math.inf


def total_bytes(path: Path) -> float:
    """Return the size in bytes of the disk of a path; infinity if the file system reports none."""
    state = _state(path)
    return state.f_blocks * state.f_frsize or math.inf


def _state(path: Path) -> os.statvfs_result:
    """Return the file system's state at the path, or at its nearest parent that exists."""
    return os.statvfs(next(p for p in (path, *path.parents) if p.exists()))
