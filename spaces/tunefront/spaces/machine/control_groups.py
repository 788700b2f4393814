"""Limits of CPU time and memory that control groups (versions 1 and 2) set for this process.

A limit of any group from the process's own up to the root of the mounted hierarchy applies, so the
smallest one counts. A container sees its own group as that root.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
_UNLIMITED = 2**62
"""Version 1 writes a number of bytes near 2**63 where there is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of control groups.

    Attributes:
        cores: CPU time a second, in seconds: as many cores can be used all the time; None without a
            limit.
        memory_mb: Memory in MB (2**20 bytes); None without a limit.
    """

    cores: float | None = None
    memory_mb: int | None = None


def control_group_limits(root: Path = ROOT) -> Limits:
    """Return the limits of this process.

    Args:
        root: Folder that contains `proc` and the mounted control groups, for tests.
    """
    cores: list[float] = []
    memory: list[int] = []
    for folder in _folders(root):
        cores += [*_quota(folder)]
        memory += [*_memory(folder)]
    return Limits(
        cores=min(cores, default=None),
        memory_mb=min(memory) // 2**20 if memory else None,
    )


def _quota(folder: Path) -> Iterator[float]:
    """Yield the quota of a group in cores: `cpu.max` (version 2) or `cpu.cfs_*` (version 1)."""
    written = _text(folder / "cpu.max").split()
    if not written:
        written = [_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    if len(written) == 2 and all(part.isdigit() for part in written) and int(written[1]):
        yield int(written[0]) / int(written[1])  # "max" and -1 are no limits


def _memory(folder: Path) -> Iterator[int]:
    """Yield the limit of a group in bytes: `memory.max` or `memory.limit_in_bytes`."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        written = _text(folder / name)
        if written.isdigit() and int(written) < _UNLIMITED:
            yield int(written)


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups and of all groups above them."""
    groups = dict(_groups(root))
    for mounted, mount, controllers in _mounts(root):
        for controller in controllers:
            if (group := groups.get(controller)) is None:
                continue
            inside = _below(group, mounted)
            yield from (mount / part for part in (inside, *inside.parents))


def _groups(root: Path) -> Iterator[tuple[str, str]]:
    """Yield controller and group of each line of `/proc/self/cgroup`; "" stands for version 2."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, group


def _mounts(root: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Yield, of each mounted hierarchy, the group at its root, where it is, and its controllers."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or not kind[0].startswith("cgroup"):
            continue
        controllers = (
            [""]
            if kind[0] == "cgroup2"
            else [name for name in kind[2].split(",") if name in ("cpu", "memory")]
        )
        yield fields[3], root / fields[4].lstrip("/"), controllers


def _below(group: str, mounted: str) -> Path:
    """Return a group's path below the group that is mounted; that group itself if not below it."""
    path = Path(group)
    if ".." in path.parts or not path.is_relative_to(mounted):
        return Path()
    return path.relative_to(mounted)


def _text(path: Path) -> str:
    """Return the text of a file; empty if it can't be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
