"""Memory on GPUs: of a candidate's processes by NVML, and what torch's allocator knows."""

import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import Configuration, Hardware
from tunefront.spaces.metric import Metric

from .base import Measure, Reading
from .gpu import Gpus, gpu_obstacle, gpus_of
from .processes import with_descendants

GPU_MEMORY = Metric(
    name="gpu_memory_mb",
    unit="MB",
    direction="minimize",
    summary="memory of the candidate's processes on their GPUs, whatever took it; 0 without a GPU",
    kind="memory",
    single_reading=True,
    occupies="gpu",
)
ALLOCATED = Metric(
    name="gpu_allocated_mb",
    unit="MB",
    direction="minimize",
    summary="peak of what torch's allocator handed out on the GPUs",
    kind="memory",
    single_reading=True,
)
RESERVED = Metric(
    name="gpu_device_mb",
    unit="MB",
    direction="minimize",
    summary="peak of what torch's allocator took from the GPUs",
    kind="memory",
    single_reading=True,
)


def allocator_peaks() -> dict[str, float]:
    """Return the peaks of torch's allocator in this process by metric, summed over GPUs.

    Empty if it used no GPU, and in one of several ranks: it knows its own allocator only.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        return {}
    gpus = range(torch.cuda.device_count())
    return {
        ALLOCATED.name: sum(torch.cuda.max_memory_allocated(gpu) for gpu in gpus) / 2**20,
        RESERVED.name: sum(torch.cuda.max_memory_reserved(gpu) for gpu in gpus) / 2**20,
    }


class GpuMemory(Measure):
    """Memory of the candidate's processes on their GPUs.

    NVML reads what each process has: weights of any runtime, contexts and communication libraries
    included. Where it hides process ids, as in containers, the growth of the devices' used memory
    is taken, over the times in which this candidate loads, warms up or runs its turns; the other
    candidates of the benchmark are idle then. NVML keeps no peaks: the largest value after such a
    time is reported. Allocators keep what they took, so that it contains the peak within one.

    A candidate that uses no GPU has 0 of each.
    """

    metrics = (GPU_MEMORY, ALLOCATED, RESERVED)
    inside: ClassVar[str] = "tunefront.evaluators.measures.gpu_memory:allocator_peaks"

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        """Return why no GPU memory is measured: this machine has no GPU."""
        return gpu_obstacle(hardware, None)

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        """Begin a reading of processes that have not loaded their model."""
        return _GpuMemoryReading(processes)


class _GpuMemoryReading(Reading):
    def __init__(self, processes: Sequence[int]) -> None:
        self._reports: Sequence[Mapping[str, float]] = ()
        self._before_mb: float | None = None
        self._grown_mb = self._most_grown_mb = 0.0
        self._most_mb: float | None = None
        self._unread = False
        self._processes: Sequence[int] = processes
        self._gpus: Gpus = gpus_of(processes)

    def watch(self, processes: Sequence[int]) -> None:
        """Count the memory of these processes too, on their GPUs and those of the first ones."""
        self._processes = [*self._processes, *processes]
        self._gpus = gpus_of(self._processes)
        self._most_mb = self._own_mb()

    def before_work(self) -> None:
        """Read the memory that is used on the devices."""
        self._before_mb = self._gpus.used_mb()

    def after_work(self) -> None:
        """Read it again, and that of the candidate's processes."""
        own_mb, now_mb = self._own_mb(), self._gpus.used_mb()
        if own_mb is not None:
            self._most_mb = max(own_mb, self._most_mb or 0.0)
        if now_mb is None or self._before_mb is None:
            self._unread = True
            return
        self._grown_mb += now_mb - self._before_mb
        self._most_grown_mb = max(self._most_grown_mb, self._grown_mb)

    def before_block(self) -> None:
        """Read as before any other work."""
        self.before_work()

    def after_block(self, blocks: Sequence[Block]) -> None:
        """Read as after any other work."""
        self.after_work()

    def take_reports(self, reports: Sequence[Mapping[str, float]]) -> None:
        """Keep the peaks of torch's allocator that the processes report."""
        self._reports = reports

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the memory so far; what torch knows only if all processes report it."""
        if not len(self._gpus):
            return {m.name: Measurement.exact(0.0, m.unit) for m in GpuMemory.metrics}
        found: dict[str, Measurement] = {}
        if self._most_mb is not None or not self._unread:
            value = self._most_grown_mb if self._most_mb is None else self._most_mb
            found[GPU_MEMORY.name] = Measurement.exact(value, GPU_MEMORY.unit)
        for metric in (ALLOCATED, RESERVED):
            if self._reports and all(metric.name in report for report in self._reports):
                total = sum(report[metric.name] for report in self._reports)
                found[metric.name] = Measurement.exact(total, metric.unit)
        return found

    def _own_mb(self) -> float | None:
        own = {pid for process in self._processes for pid in with_descendants(process)}
        return self._gpus.memory_of(own)
