"""What GPUs do at the moment, read from NVML by their UUIDs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What a GPU does at the moment.

    Attributes:
        used_mb: Its memory in use, in MB (2**20 bytes); 0 if the driver does not report it.
        processes: Ids of the processes that use it; empty where they are hidden.
        utilization: Share of the driver's last sample, of up to a second, in which it worked; 0 if
            the driver does not report it, as for MIG instances.
    """

    used_mb: float = 0.0
    processes: frozenset[int] = frozenset()
    utilization: float = 0.0


def gpu_uses(uuids: Iterable[str]) -> dict[str, GpuUse]:
    """Return what GPUs do at the moment, by UUID, without those that can't be read."""
    found: dict[str, GpuUse] = {}
    with _nvml() as nvml:
        if nvml is None:
            return found
        for uuid in uuids:
            with suppress(nvml.NVMLError):
                found[uuid] = _use(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))
    return found


@contextmanager
def _nvml() -> Iterator[Any]:
    """Yield NVML, which has no types; None where it does not work."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _use(nvml: Any, handle: object) -> GpuUse:
    used_mb, utilization, processes = 0.0, 0.0, frozenset[int]()
    with suppress(nvml.NVMLError):
        used_mb = nvml.nvmlDeviceGetMemoryInfo(handle).used / 2**20
    with suppress(nvml.NVMLError):
        running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        processes = frozenset(int(process.pid) for process in running)
    with suppress(nvml.NVMLError):
        utilization = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    return GpuUse(used_mb=used_mb, processes=processes, utilization=utilization)
