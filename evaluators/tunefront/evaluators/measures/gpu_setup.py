"""What the GPUs of this machine, their driver and the toolchain offer, for `tunefront doctor`.

Every fact is gathered separately: one that can't be read is None, and does not hide the others. No
CUDA context is created.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.evaluators.isolation.gpus import gpus_set_aside
from tunefront.spaces.machine.distributions import installed_version

LEAST_SHARED_MEMORY_MB = 1024
"""Smallest /dev/shm that serves NCCL between several GPUs; Docker's default is 64 MB."""
LINK_TIMEOUT_S = 20.0
_MODES = {0: "default", 2: "prohibited", 3: "exclusive process"}
_DEVICE_FILES = "nvidia*"
_MPS_FOLDER = "/tmp/nvidia-mps"
_CUDA_FOLDER = "/usr/local/cuda"

Capability = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReport:
    """One GPU as NVML describes it; None for what can't be read.

    Attributes:
        uuid: Its UUID.
        name: Its name.
        capability: Its CUDA compute capability.
        memory_mb: Its memory in MB (2**20 bytes).
        free_mb: Its free memory in MB.
        processes: Number of processes that compute on it.
        compute_mode: Whether several processes can use it: `default`, `exclusive process` or
            `prohibited`.
        mig: Whether it is split into MIG instances.
        persistent: Whether the driver stays loaded while no process uses it.
        energy: Whether it has an energy counter.
        set_aside: Why it is not leased, because it broke; empty if it is leased.
        problem: Why it can't be read at all; empty if it can.
    """

    uuid: str = ""
    name: str = ""
    capability: Capability | None = None
    memory_mb: int | None = None
    free_mb: int | None = None
    processes: int | None = None
    compute_mode: str | None = None
    mig: bool | None = None
    persistent: bool | None = None
    energy: bool = False
    set_aside: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What torch, AOTInductor and NCCL find on this machine.

    Attributes:
        torch: Version of torch; empty if it is not installed.
        cuda: CUDA version that torch was built for; empty for a build without CUDA.
        architectures: What this build of torch has kernels for, such as `sm_90`.
        nccl: Version of NCCL in torch; empty without.
        triton: Version of Triton; empty without.
        compiler: Path of the C++ compiler; empty without.
        cuda_home: Folder of the CUDA toolkit; empty without.
        headers: Whether it has the header `cuda.h`.
        links_libcuda: Whether the compiler can link the driver's library (`-lcuda`).
        shared_memory_mb: Size of /dev/shm in MB.
        mps: Whether CUDA's multi-process service runs.
    """

    torch: str = ""
    cuda: str = ""
    architectures: tuple[str, ...] = ()
    nccl: str = ""
    triton: str = ""
    compiler: str = ""
    cuda_home: str = ""
    headers: bool = False
    links_libcuda: bool = False
    shared_memory_mb: int = 0
    mps: bool = False

    def covers(self, capability: Capability) -> bool:
        """Return whether this build of torch has kernels for GPUs of a compute capability.

        Kernels run on GPUs of the same major version and a minor version that is not lower; code
        in PTX (`compute_90`) on any later GPU. `sm_90a` runs on capability 9.0 only.
        """
        for kind, digits, exact in map(_architecture, self.architectures):
            built = (int(digits[:-1]), int(digits[-1]))
            if exact:
                fits = built == capability
            elif kind == "compute":
                fits = built <= capability
            else:
                fits = built[0] == capability[0] and built[1] <= capability[1]
            if fits:
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSetup:
    """The GPUs of a machine with their driver and toolchain.

    Attributes:
        expected: Whether the system has device files of an NVIDIA driver.
        driver: Version of the driver; empty if NVML can't be used.
        driver_cuda: Newest CUDA version that the driver supports; empty if it is not known.
        problem: Why NVML can't be used; empty if it can.
        gpus: All GPUs of the machine, also those that CUDA_VISIBLE_DEVICES hides.
        toolchain: What was found besides; None if there is neither a GPU nor a device file.
    """

    expected: bool = False
    driver: str = ""
    driver_cuda: str = ""
    problem: str = ""
    gpus: tuple[GpuReport, ...] = ()
    toolchain: Toolchain | None = None


def gpu_setup(
    nvml: Any = None, find_toolchain: Callable[[], Toolchain] | None = None, devices: str = "/dev"
) -> GpuSetup:
    """Return what this machine has; without a GPU torch is not imported.

    Args:
        nvml: The module `pynvml` or a stand-in; `pynvml` if None.
        find_toolchain: Returns what torch and the compilers find; `toolchain` if None.
        devices: Folder of the system's device files.
    """
    if nvml is None:
        import pynvml

        nvml = pynvml
    expected = any(Path(devices).glob(_DEVICE_FILES))
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        found = (find_toolchain or toolchain)() if expected else None
        return GpuSetup(expected=expected, problem=str(error), toolchain=found)
    try:
        gpus = tuple(_reports(nvml))
        read = _Reader(nvml)
        return GpuSetup(
            expected=expected,
            driver=str(read("nvmlSystemGetDriverVersion") or ""),
            driver_cuda=_cuda_text(read("nvmlSystemGetCudaDriverVersion")),
            gpus=gpus,
            toolchain=(find_toolchain or toolchain)() if gpus or expected else None,
        )
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


class _Reader:
    """Calls functions of NVML by name; None for what is not supported or missing."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def __call__(self, name: str, *arguments: object) -> Any:
        try:
            return getattr(self._nvml, name)(*arguments)
        except (AttributeError, self._nvml.NVMLError):
            return None


def _reports(nvml: Any) -> Sequence[GpuReport]:
    found: list[GpuReport] = []
    for index in range(int(_Reader(nvml)("nvmlDeviceGetCount") or 0)):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name = str(nvml.nvmlDeviceGetName(handle))
        except nvml.NVMLError as error:  # a GPU that was lost keeps its index
            found.append(GpuReport(name=f"GPU {index}", problem=str(error)))
            continue
        found.append(_report(_Reader(nvml), handle, name))
    return found


def _report(read: _Reader, handle: object, name: str) -> GpuReport:
    memory = read("nvmlDeviceGetMemoryInfo", handle)
    capability = read("nvmlDeviceGetCudaComputeCapability", handle)
    processes = read("nvmlDeviceGetComputeRunningProcesses", handle)
    mode = read("nvmlDeviceGetComputeMode", handle)
    mig = read("nvmlDeviceGetMigMode", handle)
    persistent = read("nvmlDeviceGetPersistenceMode", handle)
    uuid = str(read("nvmlDeviceGetUUID", handle) or "")
    return GpuReport(
        uuid=uuid,
        name=name,
        capability=None if capability is None else (int(capability[0]), int(capability[1])),
        memory_mb=None if memory is None else int(memory.total) // 2**20,
        free_mb=None if memory is None else int(memory.free) // 2**20,
        processes=None if processes is None else len(processes),
        compute_mode=None if mode is None else _MODES.get(int(mode), str(mode)),
        mig=None if mig is None else bool(mig[0]),
        persistent=None if persistent is None else bool(persistent),
        energy=read("nvmlDeviceGetTotalEnergyConsumption", handle) is not None,
        set_aside=gpus_set_aside().get(uuid, ""),
    )


def _cuda_text(number: int | None) -> str:
    """Return NVML's number of a CUDA version as text: 13000 is `13.0`."""
    return "" if number is None else f"{number // 1000}.{number % 1000 // 10}"


def _architecture(text: str) -> tuple[str, str, bool]:
    """Return kind, digits and whether only that very capability is meant, of `sm_90a`."""
    found = re.fullmatch(r"(sm|compute)_(\d{2,})([a-z]?)", text)
    return (found[1], found[2], bool(found[3])) if found else ("sm", "00", True)


def toolchain(
    environment: Mapping[str, str] | None = None, *, with_torch: bool = True
) -> Toolchain:
    """Return what torch, AOTInductor and NCCL find here.

    Args:
        environment: Environment variables; those of this process if None.
        with_torch: Whether to import torch and report on it.
    """
    variables = os.environ if environment is None else environment
    compiler = shutil.which(variables.get("CXX", "g++"), path=variables.get("PATH")) or ""
    home = _cuda_home(variables)
    return Toolchain(
        **(_torch_facts() if with_torch else {}),
        triton=installed_version("triton") or "",
        compiler=compiler,
        cuda_home=home,
        headers=bool(home) and Path(home, "include", "cuda.h").exists(),
        links_libcuda=bool(compiler) and _links(compiler, _library_folders(home, variables)),
        shared_memory_mb=_size_mb("/dev/shm"),
        mps=Path(variables.get("CUDA_MPS_PIPE_DIRECTORY", _MPS_FOLDER), "control").exists(),
    )


def _torch_facts() -> dict[str, Any]:
    try:
        import torch
        import torch.cuda.nccl
    except (ImportError, OSError):  # not installed, or a library of CUDA is missing
        return {}
    read_nccl: Any = torch.cuda.nccl.version  # it has no types
    nccl = ""
    with contextlib.suppress(Exception):  # a build without NCCL raises various types
        nccl = ".".join(map(str, read_nccl()))
    return {
        "torch": str(torch.__version__),
        "cuda": str(torch.version.cuda or ""),
        "architectures": tuple(torch.cuda.get_arch_list()),
        "nccl": nccl,
    }


def _cuda_home(variables: Mapping[str, str]) -> str:
    """Return the folder of the CUDA toolkit as torch finds it; empty if there is none."""
    if named := variables.get("CUDA_HOME") or variables.get("CUDA_PATH"):
        return named
    if (nvcc := shutil.which("nvcc", path=variables.get("PATH"))) is not None:
        return str(Path(nvcc).parent.parent)
    return _CUDA_FOLDER if Path(_CUDA_FOLDER).exists() else ""


def _library_folders(home: str, variables: Mapping[str, str]) -> list[str]:
    """Return where AOTInductor looks for `libcuda.so`: the stubs only if CUDA_HOME is set."""
    if not home:
        return []
    found = [f"{home}/lib64", f"{home}/lib"]
    if "CUDA_HOME" in variables:
        found += [f"{folder}/stubs" for folder in found]
    return found


def _links(compiler: str, folders: Sequence[str]) -> bool:
    """Return whether an empty library can be linked with the driver's."""
    with tempfile.TemporaryDirectory() as folder:
        searched = [f"-L{one}" for one in folders]
        output = str(Path(folder, "empty.so"))
        command = [compiler, "-shared", "-x", "c++", os.devnull, "-o", output, *searched, "-lcuda"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=LINK_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def _size_mb(folder: str) -> int:
    try:
        state = os.statvfs(folder)
    except OSError:
        return 0
    return state.f_frsize * state.f_blocks // 2**20
