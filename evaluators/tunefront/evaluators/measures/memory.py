"""Resident memory of processes, read from outside, and the size of a folder on disk."""

import os
import re
from collections.abc import Mapping, Sequence
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
    summary="peak resident memory of the process that runs the model, libraries included",
    kind="memory",
    single_reading=True,
    occupies="host",
)
MODEL_MEMORY = Metric(
    name="model_memory_mb",
    unit="MB",
    direction="minimize",
    summary="peak resident memory above the idle process with its libraries loaded",
    kind="memory",
    single_reading=True,
)

_LINE = re.compile(r"^(Vm\w+):\s+(\d+) kB", re.MULTILINE)


def process_memory_mb(pid: int | str = "self") -> tuple[float, float]:
    """Return current and peak resident memory of a process, in MB (2**20 bytes).

    The values are VmRSS and VmHWM of the kernel's `/proc/PID/status`; both are 0 for a process
    that has ended.
    """
    try:
        fields = dict(_LINE.findall(Path(f"/proc/{pid}/status").read_text()))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    return int(fields.get("VmRSS", 0)) / 1024, int(fields.get("VmHWM", 0)) / 1024


def folder_mb(folder: Path) -> float:
    """Return the size of the files below a folder, in MB (2**20 bytes)."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def tree_memory_mb(pid: int | None = None) -> tuple[float, float]:
    """Return current and peak resident memory of a process and its descendants, in MB.

    The peak is the sum of the processes' peaks.

    Args:
        pid: Id of the process; this process if None.
    """
    parts = [
        process_memory_mb(one) for one in with_descendants(os.getpid() if pid is None else pid)
    ]
    return sum(now for now, _ in parts), sum(peak for _, peak in parts)


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
        self._idle_mb = {pid: tree_memory_mb(pid)[0] for pid in processes}

    def watch(self, processes: Sequence[int]) -> None:
        """Count these processes whole: their libraries belong to the engine."""
        self._idle_mb = {pid: self._idle_mb.get(pid, 0.0) for pid in processes}

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the peaks so far.

        Library pages are shared: they count once, the memory above them for each process.
        """
        above = sum(tree_memory_mb(pid)[1] - idle for pid, idle in self._idle_mb.items())
        libraries = next(iter(self._idle_mb.values()), 0.0)
        return {
            PEAK_MEMORY.name: Measurement.exact(libraries + above, PEAK_MEMORY.unit),
            MODEL_MEMORY.name: Measurement.exact(above, MODEL_MEMORY.unit),
        }
