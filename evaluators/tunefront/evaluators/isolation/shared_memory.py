"""Removal of the files that libraries leave in /dev/shm when their process is killed.

A file is removed only if its name is one that libraries are known to use, it belongs to this user,
it was created since the step began, and no process has it open or mapped.
"""

import contextlib
import fcntl
import os
import re
import signal
from pathlib import Path

SHARED_MEMORY_FOLDER = Path("/dev/shm")
_NAMES = re.compile(r"torch_|psm_|nccl-|sem\.(mp|loky)-|__KMP_REGISTERED_LIB_(?P<pid>\d+)_")
_COARSE_S = 0.1
"""Tolerance in seconds: the clock of file timestamps lags by a few milliseconds."""


def remove_leftovers(since: float, folder: Path = SHARED_MEMORY_FOLDER) -> list[str]:
    """Remove leftover files that no process uses; return their names.

    Args:
        since: When the step began, in seconds since the epoch.
        folder: The folder to search.
    """
    removed: list[str] = []
    if not folder.is_dir():
        return removed
    with os.scandir(folder) as entries:
        for entry in entries:
            name = _NAMES.match(entry.name)
            if name is None or _lives(name["pid"]) or not _ours(entry, since - _COARSE_S):
                continue
            with contextlib.suppress(OSError):
                if _removed(Path(entry.path)):
                    removed.append(entry.name)
    return removed


def _lives(pid: str | None) -> bool:
    """Return whether the process with the pid in a file name is running.

    OpenMP closes its files while it still needs them, so for these only the pid is decisive.
    """
    return pid is not None and Path("/proc", pid).exists()


def _ours(entry: "os.DirEntry[str]", since: float) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    own = entry.is_file(follow_symlinks=False) and status.st_uid == os.getuid()
    return own and status.st_ctime >= since


def _removed(path: Path) -> bool:
    """Remove the file unless a process has it open or mapped, even in another container.

    The kernel grants a write lease only if no other process has the file open.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        # A process that opens the file breaks the lease, which sends us a signal; the default
        # signal, SIGIO, would kill this process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
