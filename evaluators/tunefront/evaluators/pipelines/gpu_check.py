"""Check of the visible GPUs before anything is measured on them, by the driver and by torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tunefront.evaluators.isolation.call import function_name
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.spaces import EvaluationError
from tunefront.spaces.machine.gpu_obstacles import NvmlState, gpu_obstacles
from tunefront.spaces.machine.visible_gpus import visible_gpus

TIMEOUT_S = 300.0
SIZE = 64
"""Rows and columns of the matrices that are multiplied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCheckRequest:
    """The GPUs to check: all that the process sees.

    Attributes:
        expected: Number of GPUs that it must see.
    """

    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCheck:
    """Why GPUs can't be used by torch; empty if all can."""

    problems: tuple[str, ...] = ()


def gpu_problems(isolation: Isolation, log: Path) -> list[str]:
    """Return why visible GPUs can't be used, each with the next step; empty if all can.

    What the driver knows is checked first, then torch in a fresh interpreter.

    Args:
        isolation: Starts the process.
        log: File for its output.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [f"the NVIDIA driver can't be reached ({error}); see `nvidia-smi`"]
    nvml = cast(NvmlState, pynvml)
    try:
        obstacles = gpu_obstacles(nvml)
        names = tuple(nvml.nvmlDeviceGetUUID(handle) for handle in visible_gpus(nvml))
    finally:
        pynvml.nvmlShutdown()
    return obstacles or torch_problems(names, isolation, log)


def torch_problems(names: tuple[str, ...], isolation: Isolation, log: Path) -> list[str]:
    """Return why torch can't use GPUs, by their UUIDs or names of MIG instances."""
    task = Task(
        function=function_name(check_visible_gpus),
        request=GpuCheckRequest(expected=len(names)),
        result=GpuCheck,
        imports=("torch",),
        log=log,
        timeout_s=TIMEOUT_S,
        devices=names,
    )
    try:
        return list(isolation.run(task).problems)
    except EvaluationError as error:
        return [f"{error}; see {log}"]


def check_visible_gpus(request: GpuCheckRequest) -> GpuCheck:
    """Check that torch is built for the GPUs of this process, and multiply on each of them."""
    import torch

    if torch.version.cuda is None:
        return GpuCheck(
            problems=(
                f"torch {torch.__version__} is built without CUDA; install a build with CUDA, see "
                "https://pytorch.org/get-started/locally",
            )
        )
    seen = torch.cuda.device_count()
    if seen < request.expected:
        return GpuCheck(
            problems=(
                f"torch sees {seen} of {request.expected} GPUs; its CUDA {torch.version.cuda} can "
                "need a newer driver, see `nvidia-smi`",
            )
        )
    found = (_problem(index) for index in range(seen))
    return GpuCheck(problems=tuple(text for text in found if text is not None))


def _problem(index: int) -> str | None:
    """Return why torch can't use one of its GPUs; None if it can."""
    import torch

    name, capability = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
    architectures = torch.cuda.get_arch_list()
    if not runs_on(architectures, capability):
        return (
            f"torch {torch.__version__} has no kernels for {name} (compute capability "
            f"{capability[0]}.{capability[1]}), only for {', '.join(architectures)}; install a "
            "build for it"
        )
    ones = torch.ones(SIZE, SIZE, device=f"cuda:{index}")
    total = float((ones @ ones).sum())
    if total != float(SIZE**3):
        return f"{name} multiplies wrongly: {total:g} instead of {SIZE**3}; replace it"
    return None


def runs_on(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Return whether code for some architectures runs on a GPU.

    Machine code (`sm_80`) runs on GPUs of the same major and the same or a higher minor number,
    with the suffix `a` only on those of the same number. Intermediate code (`compute_90`) runs on
    all newer ones. Without any architecture nothing is known, and the result is true.

    Args:
        architectures: As `torch.cuda.get_arch_list` returns them.
        capability: Compute capability of the GPU.
    """
    return not architectures or any(_serves(one, capability) for one in architectures)


def _serves(architecture: str, capability: tuple[int, int]) -> bool:
    kind, _, number = architecture.partition("_")
    digits = number.rstrip("af")
    built = (int(digits[:-1]), int(digits[-1]))
    if number.endswith("a"):
        return capability == built
    if kind == "sm" or number.endswith("f"):
        return capability[0] == built[0] and capability[1] >= built[1]
    return capability >= built
