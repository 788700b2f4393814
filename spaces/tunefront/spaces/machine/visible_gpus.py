"""The GPUs that CUDA_VISIBLE_DEVICES makes visible, as handles of NVML.

The variable names indices, UUIDs (`GPU-...`, a unique beginning suffices) and MIG instances
(`MIG-...`). As in CUDA the first name that is none ends the list, and a process sees one MIG
instance at most: of a GPU that is split into instances, the first one.
"""

import os
from collections.abc import Callable, Sequence
from typing import Protocol


class Nvml(Protocol):
    """The functions of NVML (module `pynvml`) that are used here."""

    NVMLError: type[Exception]
    nvmlDeviceGetCount: Callable[[], int]
    nvmlDeviceGetHandleByIndex: Callable[[int], object]
    nvmlDeviceGetHandleByUUID: Callable[[str], object]
    nvmlDeviceGetUUID: Callable[[object], str]
    nvmlDeviceGetMigMode: Callable[[object], Sequence[int]]
    nvmlDeviceGetMaxMigDeviceCount: Callable[[object], int]
    nvmlDeviceGetMigDeviceHandleByIndex: Callable[[object, int], object]
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle: Callable[[object], object]
    nvmlDeviceGetCudaComputeCapability: Callable[[object], Sequence[int]]


def visible_gpus(nvml: Nvml) -> list[object]:
    """Return the handles of the visible GPUs and MIG instances, in the order of the variable.

    Args:
        nvml: NVML, initialized.
    """
    found: list[object] = []
    written = os.environ.get("CUDA_VISIBLE_DEVICES")
    indices = map(str, range(nvml.nvmlDeviceGetCount()))
    for name in indices if written is None else written.split(","):
        handle = _handle(nvml, name.strip())
        if handle is None:
            break
        instances = _instances(nvml, handle)
        if instances is None:
            found.append(handle)
        elif instances:
            found.append(instances[0])
        if instances is not None or name.strip().startswith("MIG-"):
            break
    return found


def _handle(nvml: Nvml, name: str) -> object | None:
    """Return the handle of a GPU or MIG instance by its name; None if there is none."""
    try:
        if name.isdigit():
            return nvml.nvmlDeviceGetHandleByIndex(int(name))
        if name.startswith("MIG-"):
            return nvml.nvmlDeviceGetHandleByUUID(name)
    except nvml.NVMLError:
        return None
    if not name.startswith("GPU-"):
        return None
    every = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    named = [handle for handle in every if nvml.nvmlDeviceGetUUID(handle).startswith(name)]
    return named[0] if len(named) == 1 else None


def _instances(nvml: Nvml, handle: object) -> list[object] | None:
    """Return the MIG instances of a GPU; None if it is not split, or is an instance itself."""
    try:
        current = nvml.nvmlDeviceGetMigMode(handle)[0]
    except nvml.NVMLError:
        return None
    if not current:
        return None
    found: list[object] = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
        except nvml.NVMLError:  # there is no instance at this index
            continue
    return found
