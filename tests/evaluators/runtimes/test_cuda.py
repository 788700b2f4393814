"""Programs for a GPU, on a machine without one."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.evaluators.runtimes.conftest import configuration_of, request_of
from torch._higher_order_ops.out_dtype import out_dtype

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.endpoint import COPY_SHARE, GPUS
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.runtimes import device_copies, export_program
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.runtimes.cuda import (
    INT8_MULTIPLE,
    LEAST_INT8_ROWS,
    check_cuda,
    gpu_facts,
    not_multiplied,
    target_device,
)
from tunefront.evaluators.runtimes.export_program import converted_program
from tunefront.evaluators.runtimes.inductor.runtime import InductorEndpoint
from tunefront.evaluators.runtimes.number_format import (
    KEPT_LAYERS,
    LEFT_OUT_LAYERS,
    NumberFormat,
    layer_facts,
    layers_not_kept,
)
from tunefront.evaluators.runtimes.torch.runtime import PROGRAM_FILE, TorchEager, TorchEndpoint
from tunefront.spaces import EvaluationError

DYNAMIC = NumberFormat(precision="fp32", bits=8, method="dynamic", group_size=32)
MakeSource = Callable[..., Source]


def test_a_gpu_is_named_with_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    assert target_device("cpu") == "cpu"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert target_device("cuda") == "cuda:0"


def test_a_process_that_can_not_use_cuda_is_no_fault_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(EvaluationError, match="is built without CUDA; install a build") as caught:
        target_device("cuda")
    assert caught.value.cause == "device"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    check_cuda()
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(EvaluationError, match="forked from one that had called CUDA") as caught:
        check_cuda()
    assert caught.value.cause == "device"


def test_the_gpus_of_tensors_are_named_by_their_uuids(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `CUDA_VISIBLE_DEVICES` names them, in torch's order, each once."""
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"uuid-{index}")
    )
    on = ("cuda:1", "cpu", "cuda", "cuda:1")
    assert gpu_facts(map(torch.device, on)) == {GPUS: "GPU-uuid-0,GPU-uuid-1"}
    assert gpu_facts([torch.device("cpu")]) == {}


class Answering:
    """A compiled package whose outputs are on some device."""

    def __init__(self, device: str) -> None:
        self.output = SimpleNamespace(device=torch.device(device))

    def __call__(self, **given: torch.Tensor) -> list[object]:
        return [self.output]


@pytest.mark.parametrize("found", ["cuda:0", "cpu"])
def test_a_package_is_where_its_outputs_are(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where it was asked to be."""
    endpoint = InductorEndpoint.__new__(InductorEndpoint)
    endpoint._device, endpoint._model = "cuda", Answering(found)
    endpoint._last = None
    assert endpoint._gpu_facts() == {}
    endpoint._last = request_of(1, 4)
    monkeypatch.setattr(device_copies, "tensors", lambda inputs, device: inputs)
    monkeypatch.setattr(device_copies, "copy_share", lambda *_: 0.25)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="a")
    )
    facts = endpoint._gpu_facts()
    assert facts["device"] == torch.device(found).type
    assert facts.get(GPUS) == ("GPU-a" if found == "cuda:0" else None)
    assert facts[COPY_SHARE] == 0.25


class Layers(torch.nn.Module):
    """Layers over tokens and over what is pooled, in sizes that CUDA can and can't multiply."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(256, 64)
        self.tokens = torch.nn.Linear(64, 128)
        self.narrow = torch.nn.Linear(128, 50)
        self.odd = torch.nn.Linear(50, 64)
        self.pooled = torch.nn.Linear(64, 64)
        self.idle = torch.nn.Linear(64, 64)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.odd(self.narrow(torch.relu(self.tokens(self.table(input_ids)))))
        masked = hidden * attention_mask.unsqueeze(-1)
        output: torch.Tensor = self.pooled(masked.mean(1))
        return output


class Pooled(torch.nn.Module):
    """A layer over what is pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(256, 64)
        self.pooled = torch.nn.Linear(64, 64)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        masked = self.table(input_ids) * attention_mask.unsqueeze(-1)
        output: torch.Tensor = self.pooled(masked.mean(1))
        return output


@pytest.mark.parametrize(
    ("length", "short"), [(LEAST_INT8_ROWS, False), (LEAST_INT8_ROWS - 1, True)]
)
def test_layers_that_cuda_can_not_multiply_are_found(length: int, short: bool) -> None:
    """By their dimensions, by their rows for one item, and because they are not called."""
    found = not_multiplied(Layers(), request_of(4, length))
    assert found == [*(["tokens"] if short else []), "narrow", "odd", "pooled", "idle"]


def source_of(module: torch.nn.Module, source: Source, length: int = 24) -> Source:
    """A source with another module and requests of a length, and one that is shorter."""
    return Source(
        module=lambda: module,
        inputs=source.inputs,
        calibration=[request_of(4, length), request_of(4, 2 * length)],
        shared=source.shared,
        hardware=source.hardware,
    )


@pytest.fixture
def as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor be the GPU, for which torchao writes the products that it writes there."""
    from torchao.kernel import intmm

    def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = out_dtype(torch.ops.aten.mm.default, torch.int32, left, right)
        return made

    monkeypatch.setattr(export_program, "target_device", lambda name: "cpu")
    monkeypatch.setattr(intmm, "_is_device", lambda *_: False)
    monkeypatch.setattr(intmm, "safe_int_mm", product)


def products(program: torch.export.ExportedProgram) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What every int8 product of a program multiplies."""
    return [
        tuple(factor.meta["val"] for factor in node.args)
        for node in program.graph.nodes
        if node.target is torch.ops.aten._int_mm.default
    ]


class Tokens(torch.nn.Module):
    """Layers over tokens only."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(256, 64)
        self.up = torch.nn.Linear(64, 128)
        self.down = torch.nn.Linear(128, 64)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.down(torch.relu(self.up(self.table(input_ids))))
        return (hidden * attention_mask.unsqueeze(-1)).mean(1)


def test_int8_products_are_those_that_cuda_multiplies(
    make_source: MakeSource, as_on_cuda: None, tmp_path: Path
) -> None:
    """They are int8 by int8 in fitting sizes, and compute what those for the processor compute."""
    torch.manual_seed(0)
    source = source_of(Tokens(), make_source("flat"))
    for_cuda = configuration_of("torch", quantization="w8 dynamic", device="cuda")
    settings = TorchEager().build(source, for_cuda, tmp_path)
    program = torch.export.load(tmp_path / PROGRAM_FILE)
    found = products(program)
    assert found
    for left, right in found:
        assert (left.dtype, right.dtype) == (torch.int8, torch.int8)
        assert int(right.shape[0]) % INT8_MULTIPLE == int(right.shape[1]) % INT8_MULTIPLE == 0
        rows = left.shape[0]
        assert isinstance(rows, torch.SymInt)
        assert len(rows.node.expr.free_symbols) == 2, "rows vary with items and with tokens"
    assert settings == {KEPT_LAYERS: []}
    assert all(one.dtype == torch.float32 for one in source.module().parameters())
    on_cpu = configuration_of("torch", quantization="w8 dynamic")
    endpoint = TorchEndpoint(program, on_cpu, settings)
    facts = endpoint.facts()
    assert (facts["quantization_bits"], facts["quantization_method"]) == (8, "dynamic")
    ours, theirs = (one(**tensors(request_of(3, 20))) for one in (program.module(), _usual(source)))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def _usual(source: Source) -> torch.nn.Module:
    """The program with the products for the processor."""
    with pytest.MonkeyPatch.context() as patch:
        from torchao.kernel import intmm

        patch.setattr(intmm, "_is_device", lambda *_: True)
        return converted_program(source, DYNAMIC, "cpu")[0].module()


def test_other_layers_stay_unquantized_and_are_reported(
    make_source: MakeSource, as_on_cuda: None
) -> None:
    source = source_of(Layers(), make_source("flat"))
    program, settings = converted_program(source, DYNAMIC, "cuda")
    assert settings[LEFT_OUT_LAYERS] == ["narrow", "odd", "pooled", "idle"]
    assert settings[KEPT_LAYERS] == settings[LEFT_OUT_LAYERS]
    ((_, right),) = products(program)
    assert tuple(right.shape) == (64, 128)


class Foreign(torch.nn.Module):
    """A layer after a tensor that is on another device, as a user may write it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 64)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("Expected all tensors to be on the same device")


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Pooled, "CUDA can multiply none of the 1 linear layers in int8"),
        (Foreign, "the module does not run on a GPU: Expected all tensors to be on the same dev"),
    ],
)
def test_a_model_that_has_no_int8_products_on_a_gpu_is_unsupported(
    make_source: MakeSource, as_on_cuda: None, module: type[torch.nn.Module], text: str
) -> None:
    source = source_of(module(), make_source("flat"))
    with pytest.raises(EvaluationError, match=text) as caught:
        converted_program(source, DYNAMIC, "cuda")
    assert caught.value.cause == "unsupported"


def test_layers_that_were_left_out_are_no_deviation_from_the_share() -> None:
    """They can be among those that the share demands, or come in addition."""
    settings = {KEPT_LAYERS: ["a", "b", "c"], LEFT_OUT_LAYERS: ["b", "c"]}
    facts = layer_facts(settings, {"a.weight", "b.weight", "c.weight"}, 5)
    assert facts == {"kept_layers": 3, "left_out_layers": 2, "linear_layers": 8}
    record = CandidateRecord(
        configuration=configuration_of("torch"), settings={}, parameters=1, reference_parameters=1
    )

    def deviation(share: float) -> str | None:
        chosen = configuration_of("torch", quantization="w8 rtn", sensitive_layers_kept=share)
        return layers_not_kept(chosen, facts, record)

    assert [deviation(share) for share in (0.0, 0.125, 0.25, 0.375)] == [None] * 4
    told = "sensitive_layers_kept: 0.5 requested, but 3 of 8 linear layers are unquantized"
    assert deviation(0.5) == told
    assert layer_facts({KEPT_LAYERS: ["a"]}, {"a.weight"}, 5) == {
        "kept_layers": 1,
        "linear_layers": 6,
    }
