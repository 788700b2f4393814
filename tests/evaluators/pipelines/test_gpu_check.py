"""That torch can use the GPUs is checked before anything is measured on them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from tunefront.evaluators import Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.pipelines.gpu_check import (
    GpuCheck,
    GpuCheckRequest,
    check_visible_gpus,
    gpu_problems,
)
from tunefront.spaces import EvaluationError

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
ONE = GpuCheckRequest(expected=1)


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch is built with CUDA here")
def test_a_build_of_torch_without_cuda_is_named(tmp_path: Path) -> None:
    """In a fresh interpreter, as before a search."""
    isolation = Isolation()
    try:
        found = gpu_problems(("GPU-made-up",), isolation, tmp_path / "log")
    finally:
        isolation.close()
    assert found == {
        "GPU-made-up": f"torch {torch.__version__} is built without CUDA; install a build with "
        "CUDA, see https://pytorch.org/get-started/locally"
    }


class Machine:
    """In place of an Isolation: runs the check on GPUs some of which are broken."""

    def __init__(self, broken: Mapping[str, str], together: str = "") -> None:
        self.broken, self.together = broken, together
        self.checked: list[tuple[str, ...]] = []

    def run(self, task: Task[GpuCheck]) -> GpuCheck:
        assert task.request == GpuCheckRequest(expected=len(task.devices))
        self.checked.append(task.devices)
        found = [self.broken[name] for name in task.devices if name in self.broken]
        if len(task.devices) > 1 and self.together:
            found.append(self.together)
        if "falls off" in found:
            raise EvaluationError("exit code 1", cause="crash")
        return GpuCheck(problems=tuple(found))


@pytest.mark.parametrize(
    ("broken", "together", "expected", "alone"),
    [
        ({}, "", {}, False),
        ({"b": "wrong"}, "", {"b": "wrong"}, True),
        ({"b": "falls off"}, "", {"b": "exit code 1; see log"}, True),
        ({"a": "wrong", "b": "w"}, "", {"a": "wrong", "b": "w"}, True),
        ({}, "no peers", {"a": "no peers", "b": "no peers"}, True),
    ],
)
def test_each_gpu_is_checked_alone_only_if_all_together_fail(
    broken: Mapping[str, str], together: str, expected: Mapping[str, str], alone: bool
) -> None:
    machine = Machine(broken, together)
    found = gpu_problems(("a", "b"), cast(Isolation, machine), Path("log"))
    assert found == expected
    assert machine.checked == [("a", "b"), *([("a",), ("b",)] if alone else [])]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let torch see one GPU, which is the processor."""

    def make(capability: tuple[int, int] = (9, 0), seen: int = 1, wrong: float = 0.0) -> None:
        ones = torch.ones
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "H100")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(ARCHITECTURES))
        monkeypatch.setattr(torch, "ones", lambda *sizes, device: ones(*sizes) + wrong)

    return make


def test_a_gpu_that_multiplies_rightly_has_no_problem(gpu: Callable[..., None]) -> None:
    gpu()
    assert check_visible_gpus(ONE) == GpuCheck()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"seen": 0}, "torch sees 0 of 1 GPUs; its CUDA 13.0 can need a newer driver, see"),
        ({"capability": (7, 0)}, "has no kernels for H100 (compute capability 7.0), only for sm_7"),
        ({"wrong": 1.0}, "H100 multiplies wrongly: 1.04858e+06 instead of 262144; replace it"),
    ],
)
def test_what_torch_can_not_do_on_a_gpu_is_named(
    gpu: Callable[..., None], changed: dict[str, Any], problem: str
) -> None:
    gpu(**changed)
    (found,) = check_visible_gpus(ONE).problems
    assert problem in found
