"""fp8 of weights and activations, whose products torch also has for the processor."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.evaluators.fake_cuda import runs_on_fake_gpu
from tests.evaluators.runtimes.conftest import configuration_of, request_of
from tests.evaluators.runtimes.test_cuda import Layers, Tokens, source_of
from torchao.quantization import quant_api

from tunefront.evaluators.exports.verification import ROUNDED_ACTIVATIONS, tolerance_of
from tunefront.evaluators.interfaces.tensors import TensorEndpoint
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.profiling.roofline import measure_roofline
from tunefront.evaluators.runtimes import cuda, export_program
from tunefront.evaluators.runtimes.base import Built, Source
from tunefront.evaluators.runtimes.cuda import FP8_MULTIPLE, not_multiplied_in_fp8
from tunefront.evaluators.runtimes.inductor.runtime import Inductor
from tunefront.evaluators.runtimes.number_format import KEPT_LAYERS, LEFT_OUT_LAYERS
from tunefront.evaluators.runtimes.torch.runtime import PROGRAM_FILE, TorchEager, TorchEndpoint
from tunefront.spaces import EvaluationError

MakeSource = Callable[..., Source]
IN_FP8 = "w8 fp8"


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchao convert without a GPU, and the processor be the GPU."""
    monkeypatch.setattr(quant_api, "_check_hardware_support", lambda granularity: None)
    monkeypatch.setattr(export_program, "target_device", lambda device: "cpu")


class Mixed(torch.nn.Module):
    """Layers whose sizes fp8 products have, and one of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(256, 64)
        self.up = torch.nn.Linear(64, 128)
        self.down = torch.nn.Linear(128, 64)
        self.head = torch.nn.Linear(64, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.down(torch.relu(self.up(self.table(input_ids))))
        masked = hidden * attention_mask.unsqueeze(-1).to(hidden.dtype)
        output: torch.Tensor = self.head(masked.mean(1))
        return output.float()


def test_layers_of_other_sizes_are_found() -> None:
    assert not_multiplied_in_fp8(Layers()) == ["narrow", "odd"]
    assert not_multiplied_in_fp8(Mixed()) == ["head"]


def test_a_program_multiplies_in_fp8_what_it_can_and_reports_it(
    make_source: MakeSource, tmp_path: Path
) -> None:
    """At other sizes than it was built with, and close to the module."""
    torch.manual_seed(0)
    module = Mixed()
    request = tensors(request_of(3, 20))
    with torch.no_grad():
        expected = module(**request)
    chosen = configuration_of("torch", quantization=IN_FP8, device="cuda", precision="bf16")
    settings = TorchEager().build(source_of(module, make_source("flat")), chosen, tmp_path)
    assert settings == {KEPT_LAYERS: ["head"], LEFT_OUT_LAYERS: ["head"]}
    program = torch.export.load(tmp_path / PROGRAM_FILE)
    products = [n for n in program.graph.nodes if n.target is torch.ops.aten._scaled_mm.default]
    assert len(products) == 2
    for node in products:
        left, right = (factor.meta["val"] for factor in node.args[:2])
        assert left.dtype == right.dtype == torch.float8_e4m3fn
        assert int(right.shape[0]) % FP8_MULTIPLE == int(right.shape[1]) % FP8_MULTIPLE == 0
    assert not [n for n in program.graph.nodes if str(n.target).startswith("torchao")]
    with torch.no_grad():
        found = program.module()(**request)
    assert float((found - expected).abs().max()) < 0.1 * float(expected.abs().max())
    on_cpu = configuration_of("torch", quantization=IN_FP8, precision="bf16")
    facts = TorchEndpoint(program, on_cpu, settings).facts()
    assert (facts["quantization_bits"], facts["quantization_method"]) == (8, "fp8")
    assert facts["precision"] == "bf16"
    assert (facts["kept_layers"], facts["linear_layers"]) == (1, 3)
    assert 8 < float(facts["weight_bits"]) < 16


def test_a_program_in_fp8_runs_on_a_gpu(make_source: MakeSource, tmp_path: Path) -> None:
    chosen = configuration_of("torch", quantization=IN_FP8, device="cuda", precision="bf16")
    TorchEager().build(source_of(Tokens(), make_source("flat")), chosen, tmp_path)
    runs_on_fake_gpu(torch.export.load(tmp_path / PROGRAM_FILE), request_of(3, 20))


def test_inductor_compiles_it_and_reads_it_back(
    make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "target_device", lambda device: "cpu")
    torch.manual_seed(0)
    module = Mixed()
    request = request_of(3, 20)
    with torch.no_grad():
        expected = module(**tensors(request)).numpy()
    chosen = configuration_of("inductor", quantization=IN_FP8, device="cuda", precision="bf16")
    settings = Inductor().build(source_of(module, make_source("flat")), chosen, tmp_path)
    on_cpu = configuration_of("inductor", quantization=IN_FP8, precision="bf16")
    endpoint = Inductor().open(Built(folder=tmp_path, settings=settings), on_cpu)
    assert isinstance(endpoint, TensorEndpoint)
    (found,) = endpoint.call(request)
    assert float(abs(found - expected).max()) < 0.1 * float(abs(expected).max())
    facts = endpoint.facts()
    assert (facts["quantization_bits"], facts["quantization_method"]) == (8, "fp8")
    assert (facts["precision"], facts["left_out_layers"]) == ("bf16", 1)


def test_a_model_without_a_layer_of_such_a_size_is_unsupported(make_source: MakeSource) -> None:
    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = torch.nn.Linear(8, 8)

    chosen = configuration_of("torch", quantization=IN_FP8, device="cuda", precision="bf16")
    with pytest.raises(
        EvaluationError, match="multiply none of the 1 linear layers in fp8: i"
    ) as c:
        TorchEager().build(source_of(Small(), make_source("flat")), chosen, Path())
    assert c.value.cause == "unsupported"


def test_the_roofline_is_that_of_fp8_products() -> None:
    assert measure_roofline("cpu", "bf16", "fp8", 1).matmul.startswith("fp8 matrices of ")


def test_verification_allows_what_rounding_to_fp8_changes() -> None:
    chosen = configuration_of("torch", quantization=IN_FP8, device="cuda", precision="bf16")
    assert tolerance_of(chosen) == ROUNDED_ACTIVATIONS["fp8"] > ROUNDED_ACTIVATIONS["dynamic"]
