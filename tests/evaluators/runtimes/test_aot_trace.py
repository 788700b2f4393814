"""Programs for a GPU as AOTInductor traces them, on fake tensors of a GPU.

A build of torch without CUDA can't trace gradients on a GPU, nor the fused operator of attention
there: models have none of the first, and compute attention by single operators.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from tests.evaluators.fake_cuda import FAKE_GPU, devices_of, fake, mode_of
from torch._functorch.aot_autograd import aot_export_module

from tunefront.evaluators.runtimes.export_program import on_device
from tunefront.evaluators.workloads.modules import (
    EmbeddingModule,
    ScoresModule,
    TextLogitsModule,
)

NAMES = ("input_ids", "attention_mask")
DIMENSIONS = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.AUTO}
SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


class Mean(torch.nn.Module):
    """Pools the states of all tokens."""

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (states * mask.unsqueeze(-1).to(states.dtype)).mean(1)


class Several(torch.nn.Module):
    """Takes inputs by place and returns a tuple, as tracing demands."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.module(**dict(zip(NAMES, given, strict=True)))
        return (found,) if isinstance(found, torch.Tensor) else tuple(found)


def _of(auto: Any, config: Any) -> torch.nn.Module:
    model: torch.nn.Module = auto.from_config(config, attn_implementation="eager")
    return model.eval().to(torch.bfloat16).requires_grad_(False)


def decoder() -> torch.nn.Module:
    return ScoresModule(_of(transformers.AutoModelForCausalLM, transformers.LlamaConfig(**SMALL)))


def encoder() -> torch.nn.Module:
    return EmbeddingModule(_of(transformers.AutoModel, transformers.BertConfig(**SMALL)), [Mean()])


def classifier() -> torch.nn.Module:
    auto: Any = transformers.AutoModelForSequenceClassification
    return TextLogitsModule(_of(auto, transformers.BertConfig(**SMALL)))


def program_of(module: torch.nn.Module) -> torch.export.ExportedProgram:
    ids = torch.ones(2, 8, dtype=torch.int64)
    given = {name: ids.clone() for name in NAMES}
    with torch.no_grad():
        return torch.export.export(
            module, (), given, dynamic_shapes=dict.fromkeys(given, DIMENSIONS)
        )


def traced(program: torch.export.ExportedProgram, device: str) -> set[str]:
    """Move a program to a device, in place, and trace it there; return the devices of its values.

    Weights and inputs are on the first GPU, as at run time.
    """
    mode = mode_of(program)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "to", lambda tensor, _: fake(tensor, mode))
        module = on_device(program, device).module(check_guards=False)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    places = {str(n.target): n.meta["val"] for n in module.graph.nodes if n.op == "placeholder"}
    given = [fake(places[name], mode) for name in NAMES]
    with mode, torch.no_grad():
        found: Any = aot_export_module(Several(module), given, trace_joint=False)
    values = (node.meta.get("val") for node in found[0].graph.nodes)
    return {str(one.device) for one in values if isinstance(one, torch.Tensor)}


@pytest.mark.parametrize("make", [decoder, encoder, classifier])
def test_a_program_is_traced_on_the_gpu_alone(make: Callable[[], torch.nn.Module]) -> None:
    program = program_of(make())
    assert traced(program, FAKE_GPU) == {FAKE_GPU}
    assert devices_of(program) >= {FAKE_GPU}


def test_a_gpu_without_its_index_is_another_device() -> None:
    """Why `target_device` returns the index."""
    with pytest.raises(AssertionError, match="Expected: cuda, Got: cuda:0"):
        traced(program_of(decoder()), "cuda")
