"""NVIDIA GPUs read through NVML (package nvidia-ml-py); empty results without GPU or NVML.

A process uses the GPUs that CUDA_VISIBLE_DEVICES named when it started: a candidate's processes run
in fresh interpreters with the names of their own GPUs.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from tunefront.spaces import Configuration, Hardware
from tunefront.spaces.catalog.runtime import GPU
from tunefront.spaces.machine.visible_gpus import Nvml, visible_gpus

from .processes import started_with

VISIBLE = "CUDA_VISIBLE_DEVICES"
POWER_REASONS = ("SwPowerCap", "HwPowerBrakeSlowdown")
HEAT_REASONS = ("SwThermalSlowdown", "HwThermalSlowdown", "HwSlowdown")
"""Ends of the names of NVML's reasons for a reduced clock."""
FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuConditions:
    """Conditions of some GPUs at the end of a turn; None for what can't be read.

    Attributes:
        clock_mhz: Clock of the slowest one.
        temperature_c: Temperature of the hottest one.
        power_ns: Time for which the clock was reduced for power, since the driver was loaded, of
            the GPU where it is longest.
        heat_ns: The same for heat.
        power_now: Whether the clock of one of them is reduced for power now.
        heat_now: The same for heat.
        processes: Other processes that have a context on one of them.
    """

    clock_mhz: float | None
    temperature_c: float | None
    power_ns: float | None
    heat_ns: float | None
    power_now: bool | None
    heat_now: bool | None
    processes: int | None


class Gpus:
    """Some GPUs.

    Args:
        names: UUIDs, names of MIG instances, or indices; those that are visible to this process if
            None. Names that NVML does not know are left out.
    """

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self._nvml: Any = None  # NVML has no types
        self._handles: list[object] = []
        if names is not None and not names:
            return
        try:
            import pynvml
        except ImportError:
            return
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._nvml = pynvml
            known = visible_gpus(cast(Nvml, pynvml)) if names is None else self._named(names)
            self._handles = list(known)

    def __len__(self) -> int:
        return len(self._handles)

    def _named(self, names: Sequence[str]) -> Iterator[object]:
        nvml = self._nvml
        for name in names:
            by = nvml.nvmlDeviceGetHandleByIndex if name.isdigit() else None
            with contextlib.suppress(nvml.NVMLError):
                yield by(int(name)) if by else nvml.nvmlDeviceGetHandleByUUID(name)

    def _read(self, read: Callable[[object], FoundT]) -> list[FoundT]:
        """Return what each GPU answers; those that do not support the call are left out."""
        found: list[FoundT] = []
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):
                found.append(read(handle))
        return found

    def joules(self) -> float | None:
        """Return the sum of the energy counters in joules; None if none can be read."""
        found = self._read(
            lambda gpu: float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)) / 1000
        )
        return sum(found) if found else None

    def free_mb(self, count: int | None = None) -> float | None:
        """Return the free memory of the fullest GPU, in MB (2**20 bytes); None if unknown.

        Args:
            count: Number of GPUs that are needed: the emptiest ones count; all if None.
        """
        found = self._read(lambda gpu: float(self._nvml.nvmlDeviceGetMemoryInfo(gpu).free) / 2**20)
        emptiest = sorted(found, reverse=True)[:count]
        return min(emptiest) if emptiest else None

    def used_mb(self) -> float | None:
        """Return the memory that is used on all of them, in MB; None if one can't be read."""
        found = self._read(lambda gpu: float(self._nvml.nvmlDeviceGetMemoryInfo(gpu).used) / 2**20)
        return sum(found) if len(found) == len(self) else None

    def memory_of(self, processes: Collection[int]) -> float | None:
        """Return the memory of processes on all of them, in MB, their contexts included.

        None if NVML lists none of these processes, as in containers that hide process ids, or if
        their memory is not known.
        """
        used = [
            one.usedGpuMemory
            for listed in self._read(self._listed)
            for one in listed
            if int(one.pid) in processes
        ]
        if not used or any(taken is None for taken in used):
            return None
        return sum(float(taken) for taken in used) / 2**20

    def conditions(self, own: Collection[int]) -> GpuConditions:
        """Return their conditions now.

        Args:
            own: Processes that are not counted as others.
        """
        nvml = self._nvml
        clocks = self._read(lambda gpu: float(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)))
        heats = self._read(
            lambda gpu: float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))
        )
        listed = self._read(self._listed)
        others = {int(one.pid) for some in listed for one in some} - set(own)
        return GpuConditions(
            clock_mhz=min(clocks, default=None),
            temperature_c=max(heats, default=None),
            power_ns=self._reduced_ns("NVML_PERF_POLICY_POWER"),
            heat_ns=self._reduced_ns("NVML_PERF_POLICY_THERMAL"),
            power_now=self._reduced_now(POWER_REASONS),
            heat_now=self._reduced_now(HEAT_REASONS),
            processes=len(others) if listed else None,
        )

    def foreign_share(self, own: Collection[int], since_us: int) -> float:
        """Return the share of the multiprocessors' time that other processes used, at most 1.

        It is the mean over the driver's samples, of the GPU with most; 0 where there is no sample,
        or where process ids are hidden.

        Args:
            own: Processes that are not counted as others.
            since_us: Start of the samples, in microseconds since 1970.
        """
        found = self._read(lambda gpu: self._nvml.nvmlDeviceGetProcessUtilization(gpu, since_us))
        shares: list[float] = []
        for samples in found:
            by_time: dict[int, float] = {}
            for one in samples:
                if int(one.timeStamp) > since_us and 0 <= one.smUtil <= 100:
                    other = 0.0 if int(one.pid) in own else one.smUtil / 100
                    by_time[one.timeStamp] = by_time.get(one.timeStamp, 0.0) + other
            shares.append(sum(by_time.values()) / len(by_time) if by_time else 0.0)
        return min(1.0, max(shares, default=0.0))

    def _listed(self, handle: object) -> Sequence[Any]:
        listed: Sequence[Any] = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return listed

    def _reduced_now(self, reasons: Sequence[str]) -> bool | None:
        """Return whether the clock of one of them is reduced for one of some reasons of NVML."""
        nvml = self._nvml
        bits = [int(getattr(nvml, f"nvmlClocksThrottleReason{name}", 0)) for name in reasons]
        found = self._read(lambda gpu: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)))
        return any(now & bit for now in found for bit in bits) if found else None

    def _reduced_ns(self, policy: str) -> float | None:
        """Return the longest time for which a policy of NVML reduced the clock."""
        number = getattr(self._nvml, policy, None)
        found = self._read(
            lambda gpu: float(self._nvml.nvmlDeviceGetViolationStatus(gpu, number).violationTime)
        )
        return max(found, default=None)


def gpus_of(processes: Sequence[int]) -> Gpus:
    """Return the GPUs that processes use, by the environment that they started with.

    A process that started without the variable uses the GPUs that are visible to this process.
    """
    names: dict[str, None] = {}
    for pid in processes:
        written = started_with(pid, VISIBLE)
        if written is None:
            return Gpus()
        names.update(dict.fromkeys(filter(None, map(str.strip, written.split(",")))))
    return Gpus(list(names))


def gpu_obstacle(hardware: Hardware, configuration: Configuration | None) -> str | None:
    """Return why nothing can be read of GPUs: the machine has none, or none is used."""
    if not hardware.gpus:
        return "this machine has no GPU"
    if configuration is not None and not runs_on_gpu(configuration):
        return "the configuration uses no GPU"
    return None


def runs_on_gpu(configuration: Mapping[str, Any]) -> bool:
    """Return whether a configuration runs on GPUs; inactive choices may be missing."""
    return bool(configuration.get("device") == GPU)
