"""What libraries leave in /dev/shm when their process is killed.

Only files go that have a name which libraries are known to give, belong to this user, were made
since the step began, and are open or mapped nowhere.
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
"""The clock that files are stamped with goes behind by some milliseconds."""


def remove_leftovers(since: float, folder: Path = SHARED_MEMORY_FOLDER) -> list[str]:
    """Remove what nobody uses any more; the names of what is gone.

    Args:
        since: When the step began, in seconds since the epoch.
        folder: Where to look.
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
    """Whether the process that a name holds lives: OpenMP's files stand for it, though closed."""
    return pid is not None and Path("/proc", pid).exists()


def _ours(entry: "os.DirEntry[str]", since: float) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    own = entry.is_file(follow_symlinks=False) and status.st_uid == os.getuid()
    return own and status.st_ctime >= since


def _removed(path: Path) -> bool:
    """Remove the file unless it is open or mapped somewhere, be it in another container.

    The kernel grants a write lease only to the one who alone has the file open.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        # Whoever opens the file meanwhile has a signal sent: by default one that ends a process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
