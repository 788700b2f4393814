"""Processes by id, from /proc: descendants, CPU time and environment."""

import os
from collections.abc import Iterable
from pathlib import Path


def with_descendants(pid: int) -> list[int]:
    """Return the id of a process and those of its living descendants; the process comes first."""
    found = [pid]
    for parent in found:  # grows while it is walked
        found += _children(parent)
    return found


def _children(pid: int) -> Iterable[int]:
    """Return the children of all threads of a process; none if it has ended."""
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            listed = Path(f"/proc/{pid}/task/{task}/children").read_text()
            yield from (int(child) for child in listed.split())
    except (FileNotFoundError, ProcessLookupError):
        return


def started_with(pid: int, name: str) -> str | None:
    """Return an environment variable that a process started with; None if it had none.

    What the process has changed since is not seen.
    """
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    for entry in entries:
        written, _, value = entry.partition(b"=")
        if written == name.encode():
            return value.decode(errors="replace")
    return None


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process, its ended children included; 0 if it has ended.

    The resolution is one tick of the kernel, usually 10 ms.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # The second field is the command in parentheses, which can contain spaces; utime, stime,
    # cutime and cstime are the fields 14 to 17.
    fields = text.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
