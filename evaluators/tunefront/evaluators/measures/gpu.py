"""State of NVIDIA GPUs through NVML (package nvidia-ml-py); empty results without GPU or NVML."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Timing
from tunefront.spaces import Configuration, Hardware, resources_of
from tunefront.spaces.machine.visible_gpus import Nvml, visible_gpus
from tunefront.spaces.metric import Metric

from .base import Measure, MeasureScope, Reading

ALLOCATED = Metric(
    name="gpu_allocated_mb",
    unit="MB",
    direction="minimize",
    summary="peak of what torch's allocator handed out on the GPUs",
    kind="memory",
    single_reading=True,
)
DEVICE_MEMORY = Metric(
    name="gpu_device_mb",
    unit="MB",
    direction="minimize",
    summary="peak of what torch's allocator took from the GPUs",
    kind="memory",
    single_reading=True,
    occupies="gpu",
)


class Gpus:
    """The GPUs that are visible to this process."""

    def __init__(self) -> None:
        self._nvml: Any = None  # NVML has no types
        self._handles: list[object] = []
        try:
            import pynvml
        except ImportError:
            return
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = visible_gpus(cast(Nvml, pynvml))

    def joules(self) -> float | None:
        """Return the sum of the energy counters in joules; None if none can be read."""
        found: list[float] = []
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):
                found.append(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000)
        return sum(found) if found else None

    def free_mb(self) -> float | None:
        """Return the free memory of the fullest GPU, in MB (2**20 bytes); None if unknown."""
        found: list[float] = []
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):
                found.append(self._nvml.nvmlDeviceGetMemoryInfo(handle).free / 2**20)
        return min(found) if found else None

    def state(self) -> dict[str, float]:
        """Return clock, temperature, throttling and process count, each of its worst GPU.

        `gpu_throttled` is 1 if the clock of any GPU was reduced because of heat or power.
        `gpu_processes` counts all processes with a compute context, our own included. The result is
        empty if no GPU can be read.
        """
        states: list[dict[str, float]] = []
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):
                states.append(self._one(handle))
        if not states:
            return {}
        return {
            "gpu_clock_mhz": min(state["gpu_clock_mhz"] for state in states),
            "gpu_temperature_c": max(state["gpu_temperature_c"] for state in states),
            "gpu_throttled": max(state["gpu_throttled"] for state in states),
            "gpu_processes": max(state["gpu_processes"] for state in states),
        }

    def _one(self, handle: object) -> dict[str, float]:
        nvml = self._nvml
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        held = (
            nvml.nvmlClocksThrottleReasonSwPowerCap
            | nvml.nvmlClocksThrottleReasonHwSlowdown
            | nvml.nvmlClocksThrottleReasonSwThermalSlowdown
        )
        return {
            "gpu_clock_mhz": float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            "gpu_temperature_c": float(
                nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
            ),
            "gpu_throttled": float(bool(reasons & held)),
            "gpu_processes": float(len(nvml.nvmlDeviceGetComputeRunningProcesses(handle))),
        }


def gpu_memory_mb() -> dict[str, float]:
    """Return this process's peak GPU memory by metric, summed over GPUs; empty if it used no GPU.

    Only torch's allocator knows these, and only inside the process that it belongs to.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    gpus = range(torch.cuda.device_count())
    return {
        ALLOCATED.name: sum(torch.cuda.max_memory_allocated(gpu) for gpu in gpus) / 2**20,
        DEVICE_MEMORY.name: sum(torch.cuda.max_memory_reserved(gpu) for gpu in gpus) / 2**20,
    }


def _gpu_obstacle(hardware: Hardware, configuration: Configuration | None) -> str | None:
    if not hardware.gpus:
        return "this machine has no GPU"
    if configuration is not None and not resources_of(configuration).gpus:
        return "the configuration uses no GPU"
    return None


class GpuMemory(Measure):
    """Memory that torch's allocator used on the GPUs, reported by the measured processes."""

    metrics = (ALLOCATED, DEVICE_MEMORY)
    inside: ClassVar[str] = "tunefront.evaluators.measures.gpu:gpu_memory_mb"

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        """Return why no GPU memory is measured: no GPU, or none is used."""
        return _gpu_obstacle(hardware, configuration)

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        """Begin a reading, which takes what the processes report."""
        return _GpuMemoryReading()


class _GpuMemoryReading(Reading):
    def __init__(self) -> None:
        self._reports: Sequence[Mapping[str, float]] = ()

    def take_reports(self, reports: Sequence[Mapping[str, float]]) -> None:
        """Keep the peaks that the processes report."""
        self._reports = reports

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the sums over the processes; empty if one of them used no GPU through torch."""
        return {
            metric.name: Measurement.exact(
                sum(report[metric.name] for report in self._reports), metric.unit
            )
            for metric in GpuMemory.metrics
            if self._reports and all(metric.name in report for report in self._reports)
        }


class GpuState(Measure):
    """Clock, temperature, throttling and process count of the GPUs, where one is used."""

    scope: ClassVar[MeasureScope] = "machine"

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        """Return why no state of GPUs is read: no GPU, or none is used."""
        return _gpu_obstacle(hardware, configuration)

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        """Begin a reading; it reads when `state` is called."""
        return _GpuStateReading()


class _GpuStateReading(Reading):
    def state(self) -> Mapping[str, float]:
        """Return the state now; empty if no GPU can be read."""
        return Gpus().state()
