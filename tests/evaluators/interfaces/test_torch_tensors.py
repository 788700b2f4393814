"""TF32: both of torch's switches follow the precision on a GPU, and are read back from them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.extensions import builtin_catalog
from tunefront.evaluators.interfaces.tensors import TOLERANCE
from tunefront.evaluators.interfaces.torch_tensors import (
    DTYPES,
    NAME_OF,
    TF32_OVERRIDE,
    switch_tf32,
    switched_precision,
)
from tunefront.evaluators.runtimes.base import Built

CATALOG = builtin_catalog()
ON = (
    "    torch.backends.cuda.matmul.allow_tf32 = True\n    torch.backends.cudnn.allow_tf32 = True\n"
)


def switches() -> tuple[bool, bool]:
    return bool(torch.backends.cuda.matmul.allow_tf32), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(TF32_OVERRIDE, raising=False)
    products, convolutions = switches()
    yield
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions


def test_tf32_numbers_are_fp32_numbers_and_no_dtype_is_called_so() -> None:
    assert DTYPES["tf32"] is torch.float32
    assert NAME_OF[torch.float32] == "fp32"
    assert TOLERANCE["fp32"] < TOLERANCE["tf32"] < TOLERANCE["fp16"]


@pytest.mark.parametrize(
    ("precision", "on"), [("fp32", False), ("tf32", True), ("bf16", False), ("fp16", False)]
)
def test_both_switches_follow_the_precision_on_a_gpu(precision: str, on: bool) -> None:
    for before in (True, False):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = before
        switch_tf32(precision, "cuda")
        assert switches() == (on, on)


def test_on_a_processor_the_switches_stay_as_they_are() -> None:
    before = switches()
    switch_tf32("fp32", "cpu")
    assert switches() == before
    switch_tf32("tf32", "cuda")
    assert switched_precision("fp32", "cpu") == "fp32"


def test_the_precision_is_read_back_from_the_switches() -> None:
    for precision in ("fp32", "tf32"):
        switch_tf32(precision, "cuda")
        assert switched_precision("fp32", "cuda") == precision
        assert switched_precision("bf16", "cuda") == "bf16"


def test_switches_that_differ_are_read_back_as_neither() -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    assert switched_precision("fp32", "cuda") == "tf32 in cuDNN only"
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = True, False
    assert switched_precision("fp32", "cuda") == "tf32 in matrix products only"


def test_the_override_of_nvidia_s_libraries_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    switch_tf32("tf32", "cuda")
    monkeypatch.setenv(TF32_OVERRIDE, "0")
    assert switched_precision("fp32", "cuda") == "fp32"


@pytest.mark.parametrize("runtime", ["torch", "inductor"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_script_of_an_export_sets_both_switches_on_a_gpu(
    runtime: str, ranks: int, tmp_path: Path
) -> None:
    def script(device: str, precision: str) -> str:
        values = {"runtime": runtime, "device": device, "precision": precision}
        configuration = CATALOG.complete({**values, "tensor_parallel": ranks})
        built = Built(folder=tmp_path, settings={})
        found = runtime_of(CATALOG, runtime).deployment(built, configuration)
        assert found is not None
        compile(found.script, "run.py", "exec")
        return found.script

    assert ON in script("cuda", "tf32")
    assert ON.replace("True", "False") in script("cuda", "fp32")
    assert ON.replace("True", "False") in script("cuda", "bf16")
    assert "tf32" not in script("cpu", "fp32")
