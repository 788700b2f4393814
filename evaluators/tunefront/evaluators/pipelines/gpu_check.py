"""Check that torch can use the GPUs, before anything is measured on them."""

from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.isolation.call import function_name
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.measures.gpu_setup import Toolchain
from tunefront.spaces import EvaluationError

CHECK_TIMEOUT_S = 300.0
CHECK_SIZE = 64
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


def gpu_problems(names: tuple[str, ...], isolation: Isolation, log: Path) -> dict[str, str]:
    """Return why torch can't use GPUs, by name, each with the next step; empty if it can use all.

    All are checked together. If that fails, each is checked alone, since one broken GPU can keep
    CUDA from starting on the others. A failure of all together counts for each of them if every
    one can be used alone.

    Args:
        names: UUIDs of the GPUs, or names of MIG instances.
        isolation: Starts the fresh interpreters of the check.
        log: File for their output.
    """
    together = _problems_of(names, isolation, log)
    if not together:
        return {}
    if len(names) == 1:
        return {names[0]: together}
    alone = {name: _problems_of((name,), isolation, log) for name in names}
    found = {name: text for name, text in alone.items() if text}
    return found or dict.fromkeys(names, together)


def _problems_of(names: tuple[str, ...], isolation: Isolation, log: Path) -> str:
    """Return why torch can't use GPUs that one process sees; empty if it can use all."""
    task = Task(
        function=function_name(check_visible_gpus),
        request=GpuCheckRequest(expected=len(names)),
        result=GpuCheck,
        imports=("torch",),
        log=log,
        timeout_s=CHECK_TIMEOUT_S,
        devices=names,
    )
    try:
        return "; ".join(isolation.run(task).problems)
    except EvaluationError as error:
        return f"{error}; see {log}"


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
    architectures = tuple(torch.cuda.get_arch_list())
    if architectures and not Toolchain(architectures=architectures).covers(capability):
        return (
            f"torch {torch.__version__} has no kernels for {name} (compute capability "
            f"{capability[0]}.{capability[1]}), only for {', '.join(architectures)}; install a "
            "build for it"
        )
    ones = torch.ones(CHECK_SIZE, CHECK_SIZE, device=f"cuda:{index}")
    total = float((ones @ ones).sum())
    if total != float(CHECK_SIZE**3):
        return f"{name} multiplies wrongly: {total:g} instead of {CHECK_SIZE**3}; replace it"
    return None
