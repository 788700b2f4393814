"""How ONNX Runtime fuses the graphs of each architecture: real graphs, nodes counted."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import transformers

from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint, TensorSpec
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.runtimes.base import Built, Source
from tunefront.evaluators.runtimes.torch.tensor_parallel import save_shardable
from tunefront.evaluators.store.store import Store, key_of
from tunefront.evaluators.workloads.base import Architecture
from tunefront.evaluators.workloads.modules import (
    EmbeddingModule,
    ImageLogitsModule,
    LogitsModule,
    pretrained_of,
)
from tunefront.evaluators.workloads.sources.encoder_modules import Pooling
from tunefront.spaces import EvaluationError, detect_hardware

from .conftest import (
    INPUTS,
    RUNTIME_OF,
    VOCABULARY,
    configuration_of,
    decoder,
    encoder,
    flat,
    request_of,
)

PLAIN = configuration_of("onnxruntime")

PIXELS = (TensorSpec(name="pixel_values", dims=("batch", 3, 32, 32)),)
LAYERS = 2
"""Of every transformer here; each layer has two norms that follow a residual sum."""
NORMS = 2 * LAYERS


class Layer(torch.nn.Module):
    """Causal attention and a feed-forward block, written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = torch.nn.ModuleList([torch.nn.LayerNorm(64) for _ in range(2)])
        self.projections = torch.nn.ModuleList([torch.nn.Linear(64, 64) for _ in range(4)])
        self.up, self.down = torch.nn.Linear(64, 128), torch.nn.Linear(128, 64)

    def forward(self, states: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        batch, length, _ = states.shape
        normed = self.norms[0](states)
        query, key, value = (
            project(normed).view(batch, length, 4, 16).transpose(1, 2)
            for project in list(self.projections)[:3]
        )
        scores = (query @ key.transpose(2, 3) / 4).masked_fill(~visible, -1e9)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, 64)
        states = states + self.projections[3](mixed)
        grown = torch.nn.functional.gelu(self.up(self.norms[1](states)))
        output: torch.Tensor = states + self.down(grown)
        return output


class OwnDecoder(torch.nn.Module):
    """A decoder that no library knows."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = torch.nn.Embedding(VOCABULARY, 64), torch.nn.Embedding(128, 64)
        self.layers = torch.nn.ModuleList([Layer() for _ in range(LAYERS)])
        self.norm, self.head = torch.nn.LayerNorm(64), torch.nn.Linear(64, VOCABULARY, bias=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        length = input_ids.shape[1]
        states = self.tokens(input_ids) + self.places(torch.arange(length))
        earlier = torch.tril(torch.ones(length, length, dtype=torch.bool))
        for layer in self.layers:
            states = layer(states, earlier & attention_mask[:, None, None, :].bool())
        output: torch.Tensor = self.head(self.norm(states))
        return output


def own() -> torch.nn.Module:
    torch.manual_seed(0)
    return OwnDecoder().eval()


def gpt2() -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=64,
        n_layer=LAYERS,
        n_head=4,
        n_positions=128,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LogitsModule(transformers.GPT2LMHeadModel(config)).eval()


def vit() -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=32,
        patch_size=8,
    )
    return ImageLogitsModule(transformers.ViTForImageClassification(config)).eval()


ALL: Mapping[str, Callable[[], torch.nn.Module]] = {
    "decoder": lambda: decoder(LAYERS),
    "encoder": lambda: encoder(LAYERS),
    "flat": flat,
    "own": own,
    "gpt2": gpt2,
    "vit": vit,
}


def some_request(name: str, batch: int, length: int) -> Inputs:
    if name != "vit":
        return request_of(batch, length)
    pixels = np.random.default_rng(0).normal(size=(batch, 3, 32, 32))
    return {"pixel_values": pixels.astype(np.float32)}


MakeSource = Callable[[str, Architecture], Source]


@pytest.fixture
def source_of(shared_store: Store, tmp_path: Path) -> MakeSource:
    """A module declared as some architecture; its unfused graph is exported once a session."""

    def make(name: str, architecture: Architecture) -> Source:
        module = ALL[name]()

        def shared(product: str, fill: Callable[[Path], None]) -> Path:
            if product == "onnx":
                key = key_of(product=product, module=name, layers=LAYERS)
                return shared_store.get_or_make(key, fill)
            (tmp_path / product).mkdir()
            fill(tmp_path / product)
            return tmp_path / product

        return Source(
            module=lambda: module,
            inputs=PIXELS if name == "vit" else INPUTS,
            calibration=[some_request(name, 4, 24)],
            shared=shared,
            hardware=detect_hardware(),
            architecture=architecture,
        )

    return make


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


@pytest.mark.parametrize(
    ("name", "architecture", "model_type", "fused"),
    [
        ("decoder", "decoder", "gpt2", {"SkipSimplifiedLayerNormalization": NORMS}),
        pytest.param("decoder", "other", None, {}, marks=pytest.mark.soak),
        ("own", "decoder", "gpt2", {"SkipLayerNormalization": NORMS, "BiasGelu": LAYERS}),
        ("own", "other", None, {}),
        # Shape inference of onnxruntime 1.32 fails on this graph: its norms are not fused.
        ("encoder", "encoder", "bert", {"BiasGelu": LAYERS}),
        pytest.param("encoder", "other", None, {}, marks=pytest.mark.soak),
        ("vit", "vision", "vit", {"SkipLayerNormalization": NORMS, "BiasGelu": LAYERS}),
        pytest.param("vit", "other", None, {}, marks=pytest.mark.soak),
        ("flat", "other", None, {}),
    ],
)
def test_a_graph_is_fused_as_its_declared_architecture(
    name: str,
    architecture: Architecture,
    model_type: str | None,
    fused: Mapping[str, int],
    source_of: MakeSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from onnxruntime.transformers import optimizer

    asked: list[str | None] = []
    optimize = optimizer.optimize_model

    def seen(path: str, **options: Any) -> Any:
        asked.append(None if options.get("only_onnxruntime") else options["model_type"])
        return optimize(path, **options)

    monkeypatch.setattr(optimizer, "optimize_model", seen)
    folder = tmp_path / "built"
    folder.mkdir()
    source = source_of(name, architecture)
    RUNTIME_OF["onnxruntime"].build(source, PLAIN, folder)
    assert asked == [model_type]
    found = operators(folder / "model.onnx")
    expected = dict.fromkeys(
        ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "BiasGelu"), 0
    )
    assert {operator: found[operator] for operator in expected} == {**expected, **fused}
    same_outputs(source, folder, name)


def same_outputs(source: Source, folder: Path, name: str) -> None:
    candidate = RUNTIME_OF["onnxruntime"].open(Built(folder=folder, settings={}), PLAIN)
    for batch, length in ((1, 7), (3, 30)):
        request = some_request(name, batch, length)
        with torch.no_grad():
            wanted = source.module()(**tensors(request)).numpy()
        assert isinstance(candidate, TensorEndpoint)
        found = candidate(request)[0]
        if wanted.ndim == 3:  # what a decoder says at padding means nothing
            kept = request["attention_mask"].astype(bool)
            wanted, found = wanted[kept], found[kept]
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_a_decoder_that_the_gpt2_fusions_fail_at_is_built_without_them(
    source_of: MakeSource, tmp_path: Path
) -> None:
    """GPT-2 itself: onnxruntime 1.32 raises IndexError at its projections without a bias."""
    folder = tmp_path / "built"
    folder.mkdir()
    source = source_of("gpt2", "decoder")
    RUNTIME_OF["onnxruntime"].build(source, PLAIN, folder)
    same_outputs(source, folder, "gpt2")


def test_an_index_error_of_the_generic_optimizations_means_not_for_this_graph(
    source_of: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.transformers import optimizer

    def fails(path: str, **options: Any) -> Any:
        raise IndexError("list index out of range")

    monkeypatch.setattr(optimizer, "optimize_model", fails)
    for architecture in ("decoder", "other"):
        with pytest.raises(EvaluationError, match="onnxruntime: list index out of range") as found:
            source = source_of("flat", architecture)
            RUNTIME_OF["onnxruntime"].build(source, PLAIN, tmp_path)
        assert found.value.cause == "unsupported"
        (tmp_path / "onnx-fused").rmdir()


def test_only_a_pretrained_model_with_a_plan_is_shared_among_ranks(
    source_of: MakeSource, tmp_path: Path
) -> None:
    class Wrapped(torch.nn.Module):
        """Has an attribute of the name that tunefront's own modules use, and means another."""

        model = "the largest one"

    save_shardable(source_of("decoder", "decoder"), tmp_path)
    assert (tmp_path / "weights" / "model.safetensors").is_file()
    plain = Source(
        module=Wrapped,
        inputs=INPUTS,
        calibration=[],
        shared=lambda *_: tmp_path,
        hardware=detect_hardware(),
    )
    for source, named in ((plain, "Wrapped"), (source_of("encoder", "encoder"), "BertModel")):
        with pytest.raises(EvaluationError, match=f"{named} has no tensor-parallel plan") as found:
            save_shardable(source, tmp_path)
        assert found.value.cause == "unsupported"


def test_the_pretrained_model_is_the_one_inside_tunefronts_own_modules() -> None:
    inner = torch.nn.Linear(1, 1)
    assert pretrained_of(LogitsModule(inner)) is inner
    assert pretrained_of(EmbeddingModule(inner, [Pooling(["mean"])])) is inner
    assert pretrained_of(inner) is None
