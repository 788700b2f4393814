"""State of NVIDIA GPUs through NVML (package nvidia-ml-py); empty results without GPU or NVML."""

import contextlib
import os
from typing import Any


class Gpus:
    """The GPUs that are visible to this process."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml
        except ImportError:
            return
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = [self._handle(name) for name in _visible(pynvml.nvmlDeviceGetCount())]

    def _handle(self, name: str) -> Any:  # NVML has no types
        if name.isdigit():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(name))
        return self._nvml.nvmlDeviceGetHandleByUUID(name)

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

    def _one(self, handle: Any) -> dict[str, float]:
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


def _visible(count: int) -> list[str]:
    """Return the indices or UUIDs in CUDA_VISIBLE_DEVICES, or all indices if it is not set."""
    written = os.environ.get("CUDA_VISIBLE_DEVICES")
    if written is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in written.split(",") if name.strip()]
