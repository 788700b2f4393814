"""The GPUs that trials can use, with the properties that decide where a candidate runs."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import cast

from .visible_gpus import Nvml, visible_gpus

_WORD_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU, or a MIG instance of one.

    Attributes:
        name: Name of its kind.
        memory_mb: Its memory in MB (2**20 bytes); that of the machine if both share it.
        capability: Its CUDA compute capability.
        uuid: Its name in CUDA_VISIBLE_DEVICES: `GPU-...` or `MIG-...`; empty if unknown.
        driver: Version of its driver; empty if unknown.
        cpus: The CPUs of its NUMA node; empty if unknown.
    """

    name: str
    memory_mb: int
    capability: tuple[int, int]
    uuid: str = ""
    driver: str = ""
    cpus: frozenset[int] = frozenset()

    @property
    def partial(self) -> bool:
        """Whether it is a MIG instance, a part of a GPU."""
        return self.uuid.startswith("MIG-")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGpus:
    """The GPUs of this machine.

    Attributes:
        gpus: Those that trials can use; all are of one kind.
        problems: For each that can't be used a text with the reason, and the reason why none is
            found if NVML does not work.
    """

    gpus: tuple[Gpu, ...] = ()
    problems: tuple[str, ...] = ()


def find_gpus(machine_mb: int) -> FoundGpus:
    """Return the GPUs that NVML reports and CUDA_VISIBLE_DEVICES names.

    A GPU that is lost, or whose properties can't be read, is left out. So is one of another kind
    than the others, because times of different hardware are never compared: of several kinds, the
    one with the most memory in all counts.

    Args:
        machine_mb: Memory of the machine in MB, which some GPUs share.
    """
    import pynvml

    nvml = cast(Nvml, pynvml)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return FoundGpus(problems=(f"NVML does not work: {error}",))
    try:
        return _of_one_kind(_usable(nvml, machine_mb))
    except nvml.NVMLError as error:
        return FoundGpus(problems=(f"NVML does not work: {error}",))
    finally:
        nvml.nvmlShutdown()


def _usable(nvml: Nvml, machine_mb: int) -> FoundGpus:
    problems: list[str] = []
    driver = str(nvml.nvmlSystemGetDriverVersion())
    gpus: list[Gpu] = []
    for place, handle in enumerate(visible_gpus(nvml, problems.append)):
        try:
            gpus.append(_gpu(nvml, handle, driver, machine_mb))
        except (_UnusableError, nvml.NVMLError) as error:
            problems.append(f"{_name(nvml, handle, place)} is left out: {error}")
    return FoundGpus(gpus=tuple(gpus), problems=tuple(problems))


class _UnusableError(Exception):
    """A GPU can't be used by trials."""


def _gpu(nvml: Nvml, handle: object, driver: str, machine_mb: int) -> Gpu:
    """Return a GPU by its handle; compute mode and CPUs of an instance are its GPU's."""
    whole = _whole(nvml, handle)
    mode = _compute_mode(nvml, whole)
    if mode == nvml.NVML_COMPUTEMODE_PROHIBITED:
        raise _UnusableError("its compute mode prohibits every process (`nvidia-smi -c 0`)")
    if mode == nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS:
        raise _UnusableError(
            "its compute mode allows one process at a time, but a candidate is measured in turns "
            "with the baseline (`nvidia-smi -c 0` allows several)"
        )
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(whole)
    return Gpu(
        name=str(nvml.nvmlDeviceGetName(handle)),
        memory_mb=_memory_mb(nvml, handle, machine_mb),
        capability=(int(major), int(minor)),
        uuid=str(nvml.nvmlDeviceGetUUID(handle)),
        driver=driver,
        cpus=_cpus(nvml, whole),
    )


def _whole(nvml: Nvml, handle: object) -> object:
    """Return the GPU that a MIG instance is a part of; a whole GPU as it is."""
    try:
        nvml.nvmlDeviceGetCudaComputeCapability(handle)
    except nvml.NVMLError as error:
        try:
            return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        except nvml.NVMLError:
            raise error from None
    return handle


def _memory_mb(nvml: Nvml, handle: object, machine_mb: int) -> int:
    """Return the memory of a GPU in MB; the machine's if the GPU has no separate memory."""
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).total) // 2**20
    except nvml.NVMLError as error:
        if getattr(error, "value", None) == nvml.NVML_ERROR_NOT_SUPPORTED:
            return machine_mb
        raise


def _compute_mode(nvml: Nvml, handle: object) -> int | None:
    try:
        return int(nvml.nvmlDeviceGetComputeMode(handle))
    except nvml.NVMLError:
        return None


def _cpus(nvml: Nvml, handle: object) -> frozenset[int]:
    """Return the CPUs of a GPU's NUMA node; empty if they are unknown."""
    words = -(-os.sysconf("SC_NPROCESSORS_CONF") // _WORD_BITS)
    try:
        found = nvml.nvmlDeviceGetCpuAffinityWithinScope(
            handle, words, nvml.NVML_AFFINITY_SCOPE_NODE
        )
    except nvml.NVMLError:
        return frozenset()
    mask = sum(int(word) << _WORD_BITS * place for place, word in enumerate(found))
    return frozenset(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)


def _name(nvml: Nvml, handle: object, place: int) -> str:
    """Return a GPU's UUID, or its number among the visible ones if it can't be read."""
    try:
        return str(nvml.nvmlDeviceGetUUID(handle))
    except nvml.NVMLError:
        return f"GPU {place}"


def _of_one_kind(found: FoundGpus) -> FoundGpus:
    """Leave out the GPUs of other kinds than the one with the most memory in all."""
    memory = Counter[str]()
    for gpu in found.gpus:
        memory[gpu.name] += gpu.memory_mb
    if len(memory) < 2:
        return found
    [(kind, _)] = memory.most_common(1)
    others = tuple(
        f"{gpu.uuid} ({gpu.name}) is left out: trials run on one kind of GPU, {kind}; name it in "
        "CUDA_VISIBLE_DEVICES to use it instead"
        for gpu in found.gpus
        if gpu.name != kind
    )
    kept = tuple(gpu for gpu in found.gpus if gpu.name == kind)
    return FoundGpus(gpus=kept, problems=found.problems + others)
