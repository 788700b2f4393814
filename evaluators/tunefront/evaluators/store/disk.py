"""What room a disk has, and how a full one shows: in an error, its words, or the disk alone."""

import errno
import math
import os
from collections.abc import Iterable
from pathlib import Path

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = tuple(os.strerror(number) for number in _NUMBERS)
NO_ROOM_BYTES = 2**20
"""What is left at the most on a disk that a writer has filled."""


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that the disk is full or a quota used up."""
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        if number in _NUMBERS or any(words in str(seen) for words in _WORDS):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def full_folder(folders: Iterable[Path]) -> Path | None:
    """The first of some folders whose disk has no room left: writers in C++ say no more."""
    return next((f for f in folders if f.is_dir() and free_bytes(f) < NO_ROOM_BYTES), None)


def free_bytes(path: Path) -> float:
    """Bytes that are free on the disk of a path; no bound where the disk doesn't say."""
    state = _state(path)
    return state.f_bavail * state.f_frsize if state.f_blocks else math.inf


def total_bytes(path: Path) -> float:
    """Bytes of the disk of a path; no bound where the disk doesn't say."""
    state = _state(path)
    return state.f_blocks * state.f_frsize or math.inf


def _state(path: Path) -> os.statvfs_result:
    """Of the path, or of the nearest one above that is there."""
    return os.statvfs(next(p for p in (path, *path.parents) if p.exists()))
