"""Resident memory of processes, read from outside, and the size of a folder on disk."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Timing
from tunefront.spaces import Configuration, Hardware
from tunefront.spaces.metric import Metric

from .base import Measure, Reading
from .processes import with_descendants

PEAK_MEMORY = Metric(
    name="peak_memory_mb",
    unit="MB",
    direction="minimize",
    summary="peak resident memory of the processes that run the model, libraries included",
    kind="memory",
    single_reading=True,
    occupies="host",
)
MODEL_MEMORY = Metric(
    name="model_memory_mb",
    unit="MB",
    direction="minimize",
    summary="peak resident memory above the idle processes and the libraries loaded later",
    kind="memory",
    single_reading=True,
)

_LINE = re.compile(r"^(Vm\w+):\s+(\d+) kB", re.MULTILINE)
_MAPPING = re.compile(
    r"^[0-9a-f]+-[0-9a-f]+ (?P<access>\S+) \S+ (?P<device>\S+) (?P<inode>\d+)"
    r"|^Rss:\s+(?P<resident>\d+) kB|^Anonymous:\s+(?P<private>\d+) kB",
    re.MULTILINE,
)
"""What is read of a mapping in /proc/PID/smaps: its first line, and two of those below it."""

FileId = tuple[str, str]
"""Device and inode of a mapped file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMemory:
    """Resident memory of one process, in MB (2**20 bytes); all zero if it has ended.

    Attributes:
        now_mb: Resident memory now.
        peak_mb: Its peak.
        files_mb: By file, what of it are pages of mapped files, without pages that the process has
            changed: all processes that map the file share them.
        libraries: The files that are mapped as code.
    """

    now_mb: float = 0.0
    peak_mb: float = 0.0
    files_mb: Mapping[FileId, float] = field(default_factory=dict)
    libraries: frozenset[FileId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMemory:
    """Resident memory of several processes, in MB; pages of a file that they share count once.

    Attributes:
        now_mb: Resident memory now.
        peak_mb: The sum of the processes' peaks, less what they share now.
        libraries_mb: Pages of libraries now.
    """

    now_mb: float
    peak_mb: float
    libraries_mb: float

    @classmethod
    def of(cls, processes: Sequence[ProcessMemory]) -> "GroupMemory":
        """Return the memory of processes that are read at the same time.

        The pages that are shared are taken to be those of the process that has most of the file:
        other users of the file on the machine, such as another trial, change nothing.
        """
        libraries = frozenset[FileId]().union(*(one.libraries for one in processes))
        most: dict[FileId, float] = {}
        for one in processes:
            for file, size_mb in one.files_mb.items():
                most[file] = max(size_mb, most.get(file, 0.0))
        repeated = sum(sum(one.files_mb.values()) for one in processes) - sum(most.values())
        return cls(
            now_mb=sum(one.now_mb for one in processes) - repeated,
            peak_mb=sum(one.peak_mb for one in processes) - repeated,
            libraries_mb=sum(size_mb for file, size_mb in most.items() if file in libraries),
        )


def process_memory(pid: int | str = "self") -> ProcessMemory:
    """Return the memory of a process, from the kernel's /proc/PID/status and /proc/PID/smaps."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = dict(_LINE.findall((folder / "status").read_text()))
        mappings = (folder / "smaps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ProcessMemory()
    files_mb, libraries = _files(mappings)
    return ProcessMemory(
        now_mb=int(fields.get("VmRSS", 0)) / 1024,
        peak_mb=int(fields.get("VmHWM", 0)) / 1024,
        files_mb=files_mb,
        libraries=libraries,
    )


def _files(mappings: str) -> tuple[dict[FileId, float], frozenset[FileId]]:
    """Return the resident pages of each file in MB, and which files are mapped as code."""
    pages_kb: dict[FileId, int] = {}
    libraries: set[FileId] = set()
    file: FileId | None = None
    for found in _MAPPING.finditer(mappings):
        if found["inode"] is not None:
            file = (found["device"], found["inode"]) if found["inode"] != "0" else None
            if file and "x" in found["access"]:
                libraries.add(file)
        elif file:
            kb = int(found["resident"] or 0) - int(found["private"] or 0)
            pages_kb[file] = pages_kb.get(file, 0) + kb
    return {file: kb / 1024 for file, kb in pages_kb.items()}, frozenset(libraries)


def trees_memory(pids: Iterable[int]) -> list[ProcessMemory]:
    """Return the memory of processes and their descendants, each process once."""
    found = dict.fromkeys(one for pid in pids for one in with_descendants(pid))
    return [process_memory(pid) for pid in found]


def group_memory(pids: Iterable[int]) -> GroupMemory:
    """Return the memory of processes and their descendants together."""
    return GroupMemory.of(trees_memory(pids))


def folder_mb(folder: Path) -> float:
    """Return the size of the files below a folder, in MB (2**20 bytes)."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


class HostMemory(Measure):
    """Resident memory of the candidate's processes and their descendants."""

    metrics = (PEAK_MEMORY, MODEL_MEMORY)

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        """Return why memory cannot be read: the system has no /proc."""
        return None if Path("/proc/self/status").exists() else "this system has no /proc"

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        """Begin a reading of processes that have not loaded their model."""
        return _MemoryReading(processes)


class _MemoryReading(Reading):
    def __init__(self, processes: Sequence[int]) -> None:
        self._processes = list(processes)
        self._idle = {pid: trees_memory([pid]) for pid in processes}

    def watch(self, processes: Sequence[int]) -> None:
        """Count the processes that were not there at the start whole, with their libraries."""
        self._processes = list(processes)
        self._idle = {pid: self._idle[pid] for pid in processes if pid in self._idle}

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the peaks so far.

        The memory of the model is what was added to that of the idle processes, less the pages of
        libraries that were mapped since, such as a plugin that is loaded with the first model.
        """
        peak_mb = group_memory(self._processes).peak_mb
        idle = GroupMemory.of([one for tree in self._idle.values() for one in tree])
        libraries_mb = group_memory(self._idle).libraries_mb - idle.libraries_mb
        model_mb = max(0.0, peak_mb - idle.now_mb - libraries_mb)
        return {
            PEAK_MEMORY.name: Measurement.exact(peak_mb, PEAK_MEMORY.unit),
            MODEL_MEMORY.name: Measurement.exact(model_mb, MODEL_MEMORY.unit),
        }
