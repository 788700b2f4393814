"""The GPUs that CUDA_VISIBLE_DEVICES makes visible, as handles of NVML.

The variable names indices, UUIDs (`GPU-...`, a unique beginning suffices) and MIG instances
(`MIG-...`). As in CUDA, the first name that is none ends the list. Of a GPU that is split into MIG
instances, all instances are found: a process can use only one of them, but every process of a
candidate is given a separate device.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

NOT_A_GPU = frozenset({None, 2, 6, 28})
"""Codes of NVML's errors for a name that is no GPU: invalid argument, not found, no such GPU."""


class Nvml(Protocol):
    """The functions of NVML (module `pynvml`) that are used here."""

    NVMLError: type[Exception]
    NVML_AFFINITY_SCOPE_NODE: int
    NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: int
    NVML_COMPUTEMODE_PROHIBITED: int
    NVML_ERROR_NOT_SUPPORTED: int
    nvmlInit: Callable[[], None]
    nvmlShutdown: Callable[[], None]
    nvmlSystemGetDriverVersion: Callable[[], str]
    nvmlDeviceGetCount: Callable[[], int]
    nvmlDeviceGetHandleByIndex: Callable[[int], object]
    nvmlDeviceGetHandleByUUID: Callable[[str], object]
    nvmlDeviceGetUUID: Callable[[object], str]
    nvmlDeviceGetName: Callable[[object], str]
    nvmlDeviceGetMemoryInfo: Callable[[object], Any]
    nvmlDeviceGetMigMode: Callable[[object], Sequence[int]]
    nvmlDeviceGetMaxMigDeviceCount: Callable[[object], int]
    nvmlDeviceGetMigDeviceHandleByIndex: Callable[[object, int], object]
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle: Callable[[object], object]
    nvmlDeviceGetCudaComputeCapability: Callable[[object], Sequence[int]]
    nvmlDeviceGetComputeMode: Callable[[object], int]
    nvmlDeviceGetCpuAffinityWithinScope: Callable[[object, int, int], Sequence[int]]


OnProblem = Callable[[str], None]
"""Called with a text for each GPU that is there and can't be used."""


def visible_gpus(nvml: Nvml, on_problem: OnProblem = lambda text: None) -> list[object]:
    """Return the handles of the visible GPUs and MIG instances, in the order of the variable.

    Args:
        nvml: NVML, initialized.
        on_problem: Called for each GPU that can't be used, such as one that is lost.
    """
    found: list[object] = []
    seen = _Seen(nvml, on_problem)
    written = os.environ.get("CUDA_VISIBLE_DEVICES")
    indices = map(str, range(nvml.nvmlDeviceGetCount()))
    for name in indices if written is None else written.split(","):
        before = seen.problems
        handle = seen.handle(name.strip())
        if handle is None and seen.problems == before:
            break
        if handle is not None:
            instances = _instances(nvml, handle)
            found += [handle] if instances is None else instances
    return found


class _Seen:
    """The GPUs of NVML by their names; counts and reports those that can't be used."""

    def __init__(self, nvml: Nvml, on_problem: OnProblem) -> None:
        self._nvml = nvml
        self._on_problem = on_problem
        self.problems = 0

    def handle(self, name: str) -> object | None:
        """Return the handle of a GPU or MIG instance by its name; None if there is none."""
        if name.isdigit():
            return self._handle(f"GPU {name}", lambda: self._by_index(int(name)))
        if name.startswith("MIG-"):
            return self._handle(name, lambda: self._nvml.nvmlDeviceGetHandleByUUID(name))
        if not name.startswith("GPU-"):
            return None
        uuids = dict(filter(None, map(self._uuid, range(self._nvml.nvmlDeviceGetCount()))))
        named = [handle for uuid, handle in uuids.items() if uuid.startswith(name)]
        return named[0] if len(named) == 1 else None

    def _by_index(self, index: int) -> object:
        return self._nvml.nvmlDeviceGetHandleByIndex(index)

    def _uuid(self, index: int) -> tuple[str, object] | None:
        handle = self._handle(f"GPU {index}", lambda: self._by_index(index))
        return None if handle is None else (self._nvml.nvmlDeviceGetUUID(handle), handle)

    def _handle(self, name: str, get: Callable[[], object]) -> object | None:
        try:
            return get()
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) not in NOT_A_GPU:
                self.problems += 1
                self._on_problem(f"{name} is left out: {error}")
            return None


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
