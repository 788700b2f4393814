"""NVIDIA GPUs through NVML (the package nvidia-ml-py); everything is empty where there is none."""

import contextlib
import os
from typing import Any


class Gpus:
    """The GPUs that this process may use."""

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
        """The energy counters' sum, in joules; None where none can be read."""
        found: list[float] = []
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):
                found.append(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000)
        return sum(found) if found else None

    def free_mb(self) -> float | None:
        """Memory that is free on the fullest of them, in MB; None where none can be read."""
        found: list[float] = []
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):
                found.append(self._nvml.nvmlDeviceGetMemoryInfo(handle).free / 2**20)
        return min(found) if found else None

    def state(self) -> dict[str, float]:
        """Clock, temperature, throttling and strangers, the worst GPU's figures; empty without.

        `gpu_throttled` is 1 where any clock was held down for heat or power; `gpu_processes`
        counts all processes with a context, our own included.
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
    """The indices or ids in CUDA_VISIBLE_DEVICES, or all."""
    written = os.environ.get("CUDA_VISIBLE_DEVICES")
    if written is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in written.split(",") if name.strip()]
