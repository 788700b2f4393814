"""Locks that end with their holder, whatever its end: files beside what they stand for."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def lock_of(path: Path) -> Path:
    """The lock file of a product."""
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def locked(lock: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file, made where it is missing; whether it is held.

    Its holder may remove the file: whoever waits for it then starts anew.

    Args:
        lock: The file.
        shared: Beside others that share it.
        wait: Until it is free; else what somebody holds is not held.
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
    """Keep products from being evicted while somebody reads them."""
    with contextlib.ExitStack() as held:
        for path in paths:
            held.enter_context(locked(lock_of(path), shared=True))
        yield


def _is(descriptor: int, path: Path) -> bool:
    """Whether the open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
