"""A dimension that varies stays so: in the traced program, and in the built candidate."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    WorkloadSpec,
    builtin_catalog,
    describe_workload,
    evaluate,
)
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint, TensorSpec
from tunefront.evaluators.interfaces.torch_tensors import run_of
from tunefront.evaluators.pipelines.tasks.size_check import check_outputs, write_outputs
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.runtimes.export_program import check_dynamic, export_program
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError, detect_hardware

RECURRENT = """
import numpy as np
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(50, 8)
        self.layers = torch.nn.LSTM(8, 16, batch_first=True)
        self.leave = torch.nn.Linear(16, 1)

    def forward(self, tokens):
        return self.leave(self.layers(self.table(tokens))[0].mean(1))


def model():
    torch.manual_seed(0)
    return Network()


def inputs(batch_size, count):
    random = np.random.default_rng(0)
    return [{"tokens": random.integers(0, 50, (batch_size, 6 + n))} for n in range(count)]


def quality(run):
    return 1.0
"""


@pytest.mark.parametrize(
    ("runtime", "stage", "message"),
    [
        ("torch", "build", "the model fixes dimension 1 of 'tokens' to "),
        ("openvino", "quality", "tokens (3, "),
        ("onnxruntime", None, ""),
    ],
)
def test_a_model_whose_length_becomes_a_number_is_unsupported_where_it_stays_one(
    runtime: str,
    stage: str | None,
    message: str,
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
) -> None:
    """torch.export fixes the length of an LSTM's input; ONNX Runtime's operator varies."""
    (tmp_path / "recurrent_network.py").write_text(RECURRENT)
    spec = WorkloadSpec(
        task="custom",
        model="recurrent_network:model",
        folder=str(tmp_path),
        inputs="recurrent_network:inputs",
        quality="recurrent_network:quality",
    )
    described = describe_workload(spec, isolation, tmp_path / "log")
    settings = replace(lm_setting, workload=spec, fingerprint=described.fingerprint)
    chosen = builtin_catalog().complete({"runtime": runtime, "threads": 1})
    found = evaluate(settings, chosen, isolation, tmp_path / "log")
    expected = ("failed", "unsupported") if stage else ("ok", None)
    assert (found.status, found.cause, found.stage) == (*expected, stage), found.message
    assert message in found.message


def test_a_dimension_that_is_fixed_when_the_model_is_traced_is_named() -> None:
    class Added(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(6)

    source = Source(
        module=Added,
        inputs=(TensorSpec(name="x", dims=("batch", "x_1")),),
        calibration=[request(4, 6)],
        shared=lambda name, make: Path(name),
        hardware=detect_hardware(),
    )
    with pytest.raises(EvaluationError, match="the model fixes dimension 1 of 'x' to 6"):
        check_dynamic(export_program(Added(), source), source.inputs)


def request(batch: int, length: int) -> Inputs:
    random = np.random.default_rng(length)
    return {"x": random.normal(size=(batch, length)).astype(np.float32)}


class Sums(torch.nn.Module):
    """The sum of every row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1, keepdim=True)


class Endpoint(TensorEndpoint):
    """A candidate that is a function."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self._function = function

    def call(self, inputs: Inputs) -> Sequence[Array]:
        return [self._function(inputs["x"])]

    def facts(self) -> Facts:
        return {}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Outputs of `Sums`, built with 4 rows of 6."""
    requests = [request(3, 6), request(3, 9), request(3, 20)]
    write_outputs(run_of(Sums()), request(4, 6), requests, tmp_path)
    return tmp_path


def sums(x: Array) -> Array:
    total: Array = x.sum(1, keepdims=True)
    return total


def noisy(x: Array) -> Array:
    """As 4 bits would do it: as wrong at every size."""
    random = np.random.default_rng(x.shape[1])
    return sums(x) * (1 + 0.2 * random.normal(size=(len(x), 1)))


@pytest.mark.parametrize("function", [sums, noisy])
def test_a_candidate_as_exact_at_every_size_passes(
    function: Callable[[Array], Array], written: Path
) -> None:
    check_outputs(Endpoint(function), written)


def fails_at_other_sizes(x: Array) -> Array:
    if x.shape != (4, 6):
        raise ValueError("static shape (4, 6)")
    return sums(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: sums(x[:, :6]), r"outputs differ from the module's by \d+ % .* at x \(3, 20\)"),
        (lambda x: sums(x)[:2], r"the output of x \(4, 6\) must have shape \(4, 1\), but has"),
        (lambda x: sums(x) * np.nan if len(x) == 3 else sums(x), "outputs differ from the"),
        (fails_at_other_sizes, r"the built model can't run x \(3, 6\): ValueError: static shape"),
    ],
    ids=["length", "shape", "NaN", "error"],
)
def test_a_candidate_that_is_wrong_at_another_size_is_unsupported(
    function: Callable[[Array], Array], message: str, written: Path
) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        check_outputs(Endpoint(function), written)
    assert caught.value.cause == "unsupported"


def test_an_error_at_the_size_of_the_build_keeps_its_cause(written: Path) -> None:
    def fails(x: Array) -> Array:
        raise RuntimeError("can't allocate memory")

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        check_outputs(Endpoint(fails), written)


def test_of_large_outputs_a_part_is_kept(tmp_path: Path) -> None:
    wide = torch.nn.Linear(6, 5000)
    write_outputs(run_of(Named(wide)), request(4, 6), [request(3, 6)], tmp_path)
    assert (tmp_path / "outputs.npz").stat().st_size < 100_000
    check_outputs(Endpoint(lambda x: run_of(Named(wide))({"x": x})[0]), tmp_path)


class Named(torch.nn.Module):
    """A module whose input is `x`."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.inner(x)
        return output
