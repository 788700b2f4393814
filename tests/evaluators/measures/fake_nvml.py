"""A stand-in for NVML (module `pynvml`) with GPUs that tests describe and change.

`FakeNvml([FakeGpu(uuid="GPU-a")]).install(monkeypatch)` takes the place of the module. Handles are
the `FakeGpu` objects themselves, so a test changes a GPU by assigning to its fields. Constants and
exceptions are those of the real module.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

MB = 2**20
BITS = 64


@dataclass(kw_only=True, eq=False)
class FakeGpu:
    """A GPU, or an instance of one, as NVML reports it; a test can change it at any time.

    Attributes:
        uuid: `GPU-...`, or `MIG-...` of an instance.
        name: Name of its kind.
        memory_mb: Its whole memory in MB (2**20 bytes).
        reserved_mb: Memory that the driver takes, without any process.
        processes: Memory in MB by process id; None where the driver does not tell.
        hidden: Whether process ids are hidden, as in a container: no process is listed, though
            their memory is used.
        capability: CUDA compute capability; of an instance NVML reports none.
        utilization: Percent of the last sample in which a kernel ran.
        instances: MIG instances by index; empty if it is not split, None at a place without one.
        compute_mode: One of `NVML_COMPUTEMODE_...`.
        lost: Whether it has fallen off the bus: every call fails with "GPU is lost".
        unsupported: Names of functions that are not supported.
        cpus: The CPUs of its NUMA node; not supported if empty.
        clock_mhz: Clock of its multiprocessors.
        temperature_c: Its temperature in °C.
        throttle_reasons: Bits of `nvmlClocksThrottleReason...`.
        violations_ns: Time of reduced clocks in ns, by `NVML_PERF_POLICY_...`.
        energy_mj: Energy since the driver was loaded, in mJ.
        power_mw: Power now, in mW.
        samples: Samples of the time of its multiprocessors: microseconds since 1970, process id,
            percent.
    """

    uuid: str = "GPU-0"
    name: str = "NVIDIA H100 80GB HBM3"
    memory_mb: int = 81559
    reserved_mb: int = 500
    processes: dict[int, int | None] = field(default_factory=dict)
    hidden: bool = False
    capability: tuple[int, int] = (9, 0)
    utilization: int = 0
    instances: Sequence["FakeGpu | None"] = ()
    compute_mode: int = pynvml.NVML_COMPUTEMODE_DEFAULT
    lost: bool = False
    unsupported: Collection[str] = ()
    cpus: Collection[int] = ()
    clock_mhz: int = 1980
    temperature_c: int = 40
    throttle_reasons: int = 0
    violations_ns: dict[int, int] = field(default_factory=dict)
    energy_mj: int = 0
    power_mw: int = 100_000
    samples: Sequence[tuple[int, int, int]] = ()
    whole: "FakeGpu | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        for instance in filter(None, self.instances):
            instance.whole = self

    @property
    def used_mb(self) -> int:
        """Memory in use: the driver's, and that of all processes."""
        return self.reserved_mb + sum(taken or 0 for taken in self.processes.values())


class FakeNvml:
    """NVML with these GPUs.

    Args:
        gpus: The GPUs by index.
        driver: Version of the driver.
        init_error: Code with which `nvmlInit` fails (`NVML_ERROR_...`); 0 if it works.
    """

    def __init__(
        self, gpus: Sequence[FakeGpu] = (), *, driver: str = "575.57.08", init_error: int = 0
    ) -> None:
        self.gpus = list(gpus)
        self.driver = driver
        self.init_error = init_error

    def install(self, monkeypatch: pytest.MonkeyPatch, visible: str | None = None) -> "FakeNvml":
        """Take the place of `pynvml`, with a value of CUDA_VISIBLE_DEVICES; None unsets it."""
        monkeypatch.setitem(sys.modules, "pynvml", self)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return self

    def __getattr__(self, name: str) -> Any:
        """Return a constant or an exception of the real module."""
        if name.startswith(("NVML_", "NVMLError", "nvmlClocks")):
            return getattr(pynvml, name)
        raise AttributeError(name)

    def nvmlInit(self) -> None:
        if self.init_error:
            raise pynvml.NVMLError(self.init_error)

    def nvmlShutdown(self) -> None:
        return

    def nvmlSystemGetDriverVersion(self) -> str:
        return self.driver

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 13000

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        if index >= len(self.gpus):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self._checked(self.gpus[index])

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:
        found = [gpu for gpu in self._every() if gpu.uuid == uuid]
        if not found:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._checked(found[0])

    def nvmlDeviceGetIndex(self, gpu: FakeGpu) -> int:
        return self.gpus.index(self._checked(gpu, "nvmlDeviceGetIndex"))

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        return self._checked(gpu, "nvmlDeviceGetUUID").uuid

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return self._checked(gpu, "nvmlDeviceGetName").name

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu, version: object = None) -> SimpleNamespace:
        total, used = self._checked(gpu, "nvmlDeviceGetMemoryInfo").memory_mb, gpu.used_mb
        return SimpleNamespace(total=total * MB, used=used * MB, free=(total - used) * MB)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:
        self._checked(gpu, "nvmlDeviceGetComputeRunningProcesses")
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=None if taken is None else taken * MB)
            for pid, taken in gpu.processes.items()
            if not gpu.hidden
        ]

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        used = self._checked(gpu, "nvmlDeviceGetUtilizationRates").utilization
        return SimpleNamespace(gpu=used, memory=used)

    def nvmlDeviceGetProcessUtilization(self, gpu: FakeGpu, since_us: int) -> list[SimpleNamespace]:
        self._whole(gpu, "nvmlDeviceGetProcessUtilization")
        found = [
            SimpleNamespace(timeStamp=at, pid=pid, smUtil=percent)
            for at, pid, percent in gpu.samples
            if at > since_us and not gpu.hidden
        ]
        if not found:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return found

    def nvmlDeviceGetCudaComputeCapability(self, gpu: FakeGpu) -> list[int]:
        self._whole(gpu, "nvmlDeviceGetCudaComputeCapability")
        return list(gpu.capability)

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        self._whole(gpu, "nvmlDeviceGetMigMode")
        return [int(bool(gpu.instances))] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:
        return len(self._whole(gpu, "nvmlDeviceGetMaxMigDeviceCount").instances)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> FakeGpu:
        self._whole(gpu, "nvmlDeviceGetMigDeviceHandleByIndex")
        found = gpu.instances[index] if index < len(gpu.instances) else None
        if found is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._checked(found)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, gpu: FakeGpu) -> FakeGpu:
        if gpu.whole is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self._checked(gpu.whole)

    def nvmlDeviceGetComputeMode(self, gpu: FakeGpu) -> int:
        return self._whole(gpu, "nvmlDeviceGetComputeMode").compute_mode

    def nvmlDeviceGetCpuAffinityWithinScope(self, gpu: FakeGpu, size: int, scope: int) -> list[int]:
        return self._affinity(self._whole(gpu, "nvmlDeviceGetCpuAffinityWithinScope"), size)

    def nvmlDeviceGetCpuAffinity(self, gpu: FakeGpu, size: int) -> list[int]:
        return self._affinity(self._whole(gpu, "nvmlDeviceGetCpuAffinity"), size)

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, kind: int) -> int:
        return self._whole(gpu, "nvmlDeviceGetClockInfo").clock_mhz

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        return self._whole(gpu, "nvmlDeviceGetTemperature").temperature_c

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: FakeGpu) -> int:
        return self._whole(gpu, "nvmlDeviceGetCurrentClocksThrottleReasons").throttle_reasons

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: FakeGpu) -> int:
        return self._whole(gpu, "nvmlDeviceGetCurrentClocksEventReasons").throttle_reasons

    def nvmlDeviceGetViolationStatus(self, gpu: FakeGpu, policy: int) -> SimpleNamespace:
        spent = self._whole(gpu, "nvmlDeviceGetViolationStatus").violations_ns.get(policy, 0)
        return SimpleNamespace(referenceTime=0, violationTime=spent)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        return self._whole(gpu, "nvmlDeviceGetTotalEnergyConsumption").energy_mj

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        return self._whole(gpu, "nvmlDeviceGetPowerUsage").power_mw

    def nvmlDeviceGetPersistenceMode(self, gpu: FakeGpu) -> int:
        self._whole(gpu, "nvmlDeviceGetPersistenceMode")
        return int(pynvml.NVML_FEATURE_ENABLED)

    def _every(self) -> Iterator[FakeGpu]:
        for gpu in self.gpus:
            yield gpu
            yield from filter(None, gpu.instances)

    def _whole(self, gpu: FakeGpu, function: str) -> FakeGpu:
        """Return a GPU; the call is not supported for an instance of one."""
        if gpu.whole is not None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return self._checked(gpu, function)

    def _checked(self, gpu: FakeGpu, function: str = "") -> FakeGpu:
        if gpu.lost or (gpu.whole is not None and gpu.whole.lost):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        if function in gpu.unsupported:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return gpu

    def _affinity(self, gpu: FakeGpu, size: int) -> list[int]:
        if not gpu.cpus:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        mask = sum(1 << cpu for cpu in gpu.cpus)
        return [mask >> BITS * word & (2**BITS - 1) for word in range(size)]
