"""Exclusive leases of CPU cores on this machine, so that measured trials never share a core."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def lease_cores(count: int, timeout_s: float = 3600.0) -> Iterator[Sequence[int]]:
    """Lease `count` cores of this process's CPU affinity, waiting until they are free.

    If the affinity has fewer cores, all of them are leased. Leases are file locks, which the kernel
    releases when the process exits.

    Raises:
        TimeoutError: If the cores are not free within `timeout_s` seconds.
    """
    usable = sorted(os.sched_getaffinity(0))
    deadline = time.monotonic() + timeout_s
    while True:
        with ExitStack() as locks:
            held: list[int] = []
            for core in usable:
                if len(held) < count and _lock(core, locks):
                    held.append(core)
            if len(held) == min(count, len(usable)):
                leases = locks.pop_all()
                break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} cores were not free for {timeout_s:.0f} s")
        time.sleep(0.05)
    with leases:
        yield held


def _lock(core: int, locks: ExitStack) -> bool:
    folder = Path(tempfile.gettempdir()) / f"tunefront-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    stream = locks.enter_context((folder / f"core-{core}.lock").open("w"))
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
