"""Pruning: smaller, repeatable, and better than cutting blindly."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
import pytest
import torch
import transformers

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.techniques.base import Technique
from tunefront.evaluators.techniques.blocks import (
    attention_blocks,
    feed_forward_blocks,
    layer_stack,
)
from tunefront.evaluators.techniques.pruning import active_techniques
from tunefront.evaluators.workloads.modules import EmbeddingModule, LogitsModule
from tunefront.evaluators.workloads.sources.encoder_modules import Pooling
from tunefront.spaces import EvaluationError

CATALOG = builtin_catalog()
STRUCTURED = ("ffn-channels", "heads", "layers")
PRUNING: Mapping[str, Technique] = {
    name: cast(Callable[[], Technique], CATALOG.provided("technique", name))()
    for name in CATALOG.names("technique")
}


def request_of(seed: int) -> Inputs:
    random = np.random.default_rng(seed)
    return {
        "input_ids": random.integers(1, 128, size=(4, 24), dtype=np.int64),
        "attention_mask": np.ones((4, 24), dtype=np.int64),
    }


CALIBRATION: Sequence[Inputs] = [request_of(seed) for seed in range(6)]


def llama() -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=128,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LogitsModule(transformers.LlamaForCausalLM(config)).eval()


def bert() -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=128,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
    )
    return EmbeddingModule(transformers.BertModel(config), [Pooling(["mean"])]).eval()


MODULES = {"llama": llama, "bert": bert}


def output_of(module: torch.nn.Module, request: Inputs) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = module(**tensors(request))
    return output


def size_of(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> torch.nn.Module:
    return MODULES[str(request.param)]()


@pytest.fixture(params=PRUNING)
def technique(request: pytest.FixtureRequest) -> Technique:
    return PRUNING[str(request.param)]


def test_every_word_of_the_choice_is_a_technique() -> None:
    assert set(PRUNING) == set(CATALOG.kind("pruning_method").words or {})


def test_a_plan_makes_the_same_module_again(module: torch.nn.Module, technique: Technique) -> None:
    untouched = copy.deepcopy(module)
    plan = json.loads(json.dumps(technique.plan(module, 0.5, CALIBRATION)))
    technique.apply(untouched, plan)
    untouched.load_state_dict(module.state_dict())
    request = request_of(99)
    torch.testing.assert_close(output_of(untouched, request), output_of(module, request))


@pytest.mark.parametrize("name", STRUCTURED)
def test_structured_pruning_makes_the_model_smaller(module: torch.nn.Module, name: str) -> None:
    whole = copy.deepcopy(module)
    PRUNING[name].plan(module, 0.5, CALIBRATION)
    assert size_of(module) < size_of(whole)
    assert torch.isfinite(output_of(module, request_of(1))).all()


def test_half_of_the_channels_are_half_of_the_feed_forward_weights() -> None:
    module = llama()
    before = sum(block.consumer.weight.numel() for block in feed_forward_blocks(module))
    PRUNING["ffn-channels"].plan(module, 0.5, CALIBRATION)
    after = sum(block.consumer.weight.numel() for block in feed_forward_blocks(module))
    assert after * 2 == before


@pytest.mark.parametrize("name", ["ffn-channels", "heads"])
def test_what_is_left_makes_up_for_what_was_redundant(module: torch.nn.Module, name: str) -> None:
    """Every second unit repeats its neighbour: half can go at hardly any loss, once refitted."""
    find = feed_forward_blocks if name == "ffn-channels" else attention_blocks
    for block in find(module):
        for producer, group in block.producers:
            for parameter in (producer.weight, producer.bias):
                if parameter is not None:
                    units = parameter.data.view(block.units, group, -1)
                    units[1::2] = units[::2]
    whole, blind = copy.deepcopy(module), copy.deepcopy(module)
    PRUNING[name].apply(blind, PRUNING[name].plan(module, 0.5, CALIBRATION))
    request = request_of(7)
    expected = output_of(whole, request)
    fitted_error = float((output_of(module, request) - expected).norm())
    blind_error = float((output_of(blind, request) - expected).norm())
    assert fitted_error < 0.1 * blind_error


def test_a_channel_that_is_never_used_goes_first() -> None:
    module = llama()
    for block in feed_forward_blocks(module):
        block.producers[0][0].weight.data[5] = 0.0  # its product is always zero
    plan = PRUNING["ffn-channels"].plan(module, 1 / 96, CALIBRATION)
    kept: dict[str, list[int]] = plan["kept"]  # type: ignore[assignment]
    assert all(5 not in units and len(units) == 95 for units in kept.values())


def test_a_layer_that_does_nothing_goes_first() -> None:
    module = llama()
    stack = layer_stack(module)
    assert stack is not None
    for parameter in stack[1][2].parameters():
        torch.nn.init.zeros_(parameter)
    plan = PRUNING["layers"].plan(module, 0.25, CALIBRATION)
    assert plan["kept"] == [0, 1, 3]


def test_magnitude_pruning_zeroes_the_smallest_of_every_layer() -> None:
    module = bert()
    before = {n: p.clone() for n, p in module.named_parameters()}
    PRUNING["magnitude"].plan(module, 0.5, CALIBRATION)
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.Linear):
            kept = layer.weight != 0
            assert 0.49 <= float((~kept).float().mean()) <= 0.51
            old = before[f"{name}.weight"].detach().abs()
            assert float(old[~kept].max()) <= float(old[kept].min())


def test_grouped_heads_are_cut_with_the_queries_they_serve() -> None:
    module = llama()
    for block in attention_blocks(module):
        assert (block.units, block.group) == (2, 32)
    PRUNING["heads"].plan(module, 0.5, CALIBRATION)
    for block in attention_blocks(module):
        (query, _), (key, _), (value, _) = block.producers
        assert (query.out_features, key.out_features, value.out_features) == (32, 16, 16)


@pytest.mark.parametrize("name", STRUCTURED)
def test_a_module_without_such_parts_is_unsupported(name: str) -> None:
    with pytest.raises(EvaluationError, match=f"pruning {name}: no ") as caught:
        PRUNING[name].plan(torch.nn.Sequential(torch.nn.Linear(4, 4)), 0.5, [])
    assert caught.value.cause == "unsupported"


def test_a_configuration_without_pruning_has_no_technique() -> None:
    assert active_techniques(CATALOG, CATALOG.complete({"runtime": "torch"})) == []
    assert active_techniques(CATALOG, CATALOG.complete({"pruning_ratio": 0.0})) == []
    found = active_techniques(
        CATALOG, CATALOG.complete({"pruning_ratio": 0.25, "pruning_method": "heads"})
    )
    assert [(technique.name, amount) for technique, amount in found] == [("heads", 0.25)]
