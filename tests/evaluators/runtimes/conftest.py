"""Small modules of both architectures, with real layers and random weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pytest
import torch
import transformers
from tests.processors import hardware_under_test

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.store.store import Store, key_of
from tunefront.evaluators.testing.cases import RuntimeCase
from tunefront.evaluators.workloads.modules import EmbeddingModule, LogitsModule
from tunefront.evaluators.workloads.sources.encoder_modules import Pooling
from tunefront.spaces import Configuration, Hardware, Value, number_formats

VOCABULARY = 256
INPUTS = (
    TensorSpec(name="input_ids", dims=("batch", "sequence")),
    TensorSpec(name="attention_mask", dims=("batch", "sequence")),
)
MakeSource = Callable[[], Source]
CATALOG = builtin_catalog()
RUNTIME_OF = {name: runtime_of(CATALOG, name) for name in CATALOG.runtimes("custom")}


def configuration_of(
    runtime: str, precision: str = "fp32", quantization: str = "none", **others: Value
) -> Configuration:
    """The complete configuration with a quantization such as `w8 static`, or `none`."""
    values: dict[str, Value] = {"runtime": runtime, "precision": precision, **others}
    if quantization != "none":
        bits, method = quantization.split()
        values |= {"quantization_bits": int(bits.removeprefix("w")), "quantization_method": method}
    return CATALOG.complete(values)


def formats_of(runtime: str, hardware: Hardware) -> list[tuple[str, str]]:
    """Precision and quantization of every supported format."""
    return [
        (str(one.values["precision"]), one.quantization)
        for one in number_formats(CATALOG, runtime, hardware)
        if one.refusal is None
    ]


def precisions_of(runtime: str, quantization: str) -> list[str]:
    """The precisions that a runtime supports with a quantization."""
    formats = formats_of(runtime, hardware_under_test())
    return [precision for precision, found in formats if found == quantization]


def request_of(batch: int, length: int, seed: int = 0) -> Inputs:
    """Random tokens; the last row of several is padded."""
    random = np.random.default_rng(seed)
    mask = np.ones((batch, length), dtype=np.int64)
    if batch > 1:
        mask[-1, length // 2 :] = 0
    ids = random.integers(1, VOCABULARY, size=(batch, length), dtype=np.int64)
    return {"input_ids": ids, "attention_mask": mask}


def decoder(layers: int = 1) -> torch.nn.Module:
    """A Llama of few layers."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
    )
    return LogitsModule(transformers.LlamaForCausalLM(config)).eval()


def encoder(layers: int = 1) -> torch.nn.Module:
    """A BERT of few layers, mean-pooled."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    return EmbeddingModule(transformers.BertModel(config), [Pooling(["mean"])]).eval()


class Flat(torch.nn.Module):
    """Linear layers over `(batch, features)`, and no table that most of the weights are in."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = torch.nn.Linear(64, 128)
        self.middle = torch.nn.Linear(128, 128)
        self.leave = torch.nn.Linear(128, 32)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        angles = input_ids.unsqueeze(-1) * torch.linspace(0.005, 0.1, 64)
        weights = attention_mask.unsqueeze(-1).float()
        mean = (torch.sin(angles) * weights).sum(1) / weights.sum(1)
        hidden = torch.relu(self.enter(mean.to(self.enter.weight.dtype)))
        output: torch.Tensor = self.leave(torch.relu(self.middle(hidden)))
        return output.float()


def flat() -> torch.nn.Module:
    """Three linear layers."""
    torch.manual_seed(0)
    return Flat().eval()


MODULES: Mapping[str, Callable[[], torch.nn.Module]] = {
    "decoder": decoder,
    "encoder": encoder,
    "flat": flat,
}


def calibration() -> Sequence[Inputs]:
    return [request_of(4, 24, seed) for seed in range(4)]


class Case(NamedTuple):
    """A runtime with one of `MODULES` in a number format."""

    runtime: str
    module: str
    precision: str = "fp32"
    quantization: str = "none"


class Build(Protocol):
    """Returns the case of a runtime and a module with the choices named."""

    def __call__(self, case: Case, **choices: Value) -> RuntimeCase: ...


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def make_source(shared_store: Store) -> Callable[..., Source]:
    """A fresh source of one of `MODULES`; what builds share is kept for the session.

    It is for the machine that the suite is run for, or for the one named.
    """

    def make(name: str, hardware: Hardware | None = None) -> Source:
        def shared(product: str, fill: Callable[[Path], None]) -> Path:
            return shared_store.get_or_make(key_of(product=product, module=name), fill)

        module = MODULES[name]()
        return Source(
            module=lambda: module,
            inputs=INPUTS,
            calibration=calibration(),
            shared=shared,
            hardware=hardware or hardware_under_test(),
        )

    return make


@pytest.fixture(scope="module")
def build(
    make_source: Callable[[str], Source], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Build]:
    """Each candidate is built and opened once a file, by the first test that needs it."""
    built: dict[tuple[str, Configuration], RuntimeCase] = {}

    def make(case: Case, **choices: Value) -> RuntimeCase:
        configuration = configuration_of(case.runtime, case.precision, case.quantization, **choices)
        key = (case.module, configuration)
        if key not in built:
            built[key] = RuntimeCase(
                catalog=CATALOG,
                runtime=RUNTIME_OF[case.runtime],
                configuration=configuration,
                make_source=lambda: make_source(case.module),
                folder=tmp_path_factory.mktemp("built"),
                make_request=request_of,
            )
        return built[key]

    yield make
    for one in built.values():
        one.close()
