"""Exclusive leases of physical cores, so that measured trials never share a core or its caches."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tunefront.spaces.machine.control_groups import control_group_limits
from tunefront.spaces.machine.topology import Core, physical_cores, spread, within_quota


@contextmanager
def lease_cores(
    count: int, timeout_s: float = 3600.0, cores: Sequence[Core] | None = None
) -> Iterator[Sequence[int]]:
    """Lease physical cores for `count` threads, waiting until they are free; yield a CPU for each.

    Each thread has a separate physical core as long as there are as many: of hyperthreads one is
    used and the other stays idle, because two threads on one core slow each other. With more
    threads all cores are leased, and then the second CPU of each core is used, and so on. Leases
    are file locks, which the kernel releases when the process exits.

    Args:
        count: Number of threads.
        timeout_s: Seconds to wait.
        cores: The cores to lease from; None for those of this process's CPU affinity, as many as
            the CPU quota of its control groups pays for.

    Raises:
        TimeoutError: If the cores are not free within `timeout_s` seconds.
    """
    usable = _usable() if cores is None else cores
    deadline = time.monotonic() + timeout_s
    while True:
        with ExitStack() as locks:
            held: list[Core] = []
            for core in usable:
                if len(held) < count and _lock(core.number, locks):
                    held.append(core)
            if len(held) == min(count, len(usable)):
                leases = locks.pop_all()
                break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} cores were not free for {timeout_s:.0f} s")
        time.sleep(0.05)
    with leases:
        yield spread(held)[:count]


def _usable() -> Sequence[Core]:
    limits = control_group_limits()
    return within_quota(physical_cores(os.sched_getaffinity(0)), limits.cores)


def _lock(core: int, locks: ExitStack) -> bool:
    folder = Path(tempfile.gettempdir()) / f"tunefront-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    stream = locks.enter_context((folder / f"core-{core}.lock").open("w"))
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
