"""Kernels that are chosen by timing: what Inductor is given, what is read back, where it can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.evaluators.runtimes.conftest import CATALOG, configuration_of
from tests.processors import hardware_with
from torch._inductor import utils

from tunefront.evaluators.runtimes import cuda, export_program
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.runtimes.inductor.runtime import Inductor, InductorEndpoint
from tunefront.spaces import EvaluationError

MakeSource = Callable[..., Source]


@pytest.fixture
def compiled_with(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each compilation, of which nothing is made; the processor is the GPU."""
    found: list[dict[str, Any]] = []
    for module in (cuda, export_program):
        monkeypatch.setattr(module, "target_device", lambda device: "cpu")
    monkeypatch.setattr(
        torch._inductor,
        "aoti_compile_and_package",
        lambda program, package_path, inductor_configs: found.append(inductor_configs),
    )
    return found


@pytest.mark.parametrize("tuned", [False, True])
def test_kernels_are_timed_where_that_was_chosen(
    tuned: bool,
    make_source: MakeSource,
    compiled_with: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(utils, "is_big_gpu", lambda: True)
    chosen = configuration_of("inductor", device="cuda", max_autotune=tuned)
    settings = Inductor().build(make_source("flat"), chosen, tmp_path)
    assert [options["max_autotune"] for options in compiled_with] == [tuned]
    assert settings["max_autotune"] is tuned
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda *_, **__: torch.nn.Identity())
    monkeypatch.setattr(
        "tunefront.evaluators.runtimes.inductor.runtime._wrapper_source", lambda path: ""
    )
    endpoint = InductorEndpoint(tmp_path / "model.pt2", chosen, settings)
    assert endpoint.facts()["max_autotune"] is tuned


def test_a_gpu_on_which_inductor_does_not_time_kernels_is_named(
    make_source: MakeSource,
    compiled_with: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(utils, "is_big_gpu", lambda: False)
    chosen = configuration_of("inductor", device="cuda", max_autotune=True)
    with pytest.raises(EvaluationError, match="^max_autotune: inductor does not time k") as caught:
        Inductor().build(make_source("flat"), chosen, tmp_path)
    assert caught.value.cause == "unsupported"
    assert compiled_with == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"runtime": "inductor", "max_autotune": True},
            "inductor times kernels on GPUs only; on a processor leave max_autotune out",
        ),
        (
            {"runtime": "torch", "max_autotune": True},
            "torch does not support max_autotune true; it supports false",
        ),
        (
            {"runtime": "torch", "cuda_graphs": True},
            "CUDA graphs are for GPUs; on a processor leave cuda_graphs out",
        ),
        (
            {"runtime": "onnxruntime", "cuda_graphs": True},
            "onnxruntime does not support cuda_graphs true; it supports false",
        ),
        ({"runtime": "inductor", "max_autotune": True, "device": "cuda"}, None),
        ({"runtime": "inductor", "cuda_graphs": True, "device": "cuda"}, None),
        ({"runtime": "torch", "cuda_graphs": True, "device": "cuda"}, None),
        (
            {"runtime": "torch", "cuda_graphs": True, "device": "cuda", "tensor_parallel": 2},
            "requests of a sharded model are not captured as CUDA graphs",
        ),
    ],
)
def test_choices_of_gpus_are_refused_elsewhere(values: dict[str, Any], reason: str | None) -> None:
    assert CATALOG.refusal(values, hardware_with("amx")) == reason
