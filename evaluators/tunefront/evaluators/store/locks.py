"""File locks next to the products they protect; the kernel releases them when the holder exits."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def lock_of(path: Path) -> Path:
    """Return the path of a product's lock file."""
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def locked(lock: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Acquire a file lock, creating the file if necessary; yields whether it was acquired.

    The holder can remove the file; a process that waits for it then retries with a new file.

    Args:
        lock: The lock file.
        shared: Acquire it together with other shared holders instead of exclusively.
        wait: Wait until the lock is free; otherwise yield False if it is taken.
    """
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("a") as stream:
            try:
                fcntl.flock(stream, mode)
            except BlockingIOError:
                yield False
                return
            if _is(stream.fileno(), lock):
                yield True
                return


@contextlib.contextmanager
def in_use(*paths: Path) -> Iterator[None]:
    """Hold shared locks on products, so that they are not evicted while they are read."""
    with contextlib.ExitStack() as held:
        for path in paths:
            held.enter_context(locked(lock_of(path), shared=True))
        yield


def _is(descriptor: int, path: Path) -> bool:
    """Return whether the open file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
