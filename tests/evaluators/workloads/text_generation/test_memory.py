"""Weights and KV cache by arithmetic, against those of a real model."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.interfaces.generation import LoadSpec
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.workloads.sources.hub import load_auto, load_config
from tunefront.evaluators.workloads.text_generation.memory import memory_of
from tunefront.evaluators.workloads.text_generation.workload import TextGeneration

NOWHERE = Path("/nowhere")


def config(**fields: object) -> SimpleNamespace:
    """Four layers, two KV heads of eight numbers."""
    known = {"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
    return SimpleNamespace(**{"hidden_size": 32, **known, **fields})


def kv_numbers(tokens: int, **fields: object) -> int | None:
    found = memory_of(NOWHERE, config(**fields), tokens, Load())
    return None if found is None else found.kv_numbers


def test_it_is_the_memory_of_the_real_weights_and_of_the_real_cache(
    chat_spec: WorkloadSpec,
) -> None:
    import torch
    from transformers import DynamicCache

    load = LoadSpec(concurrency=(1, 3), input_tokens=20, output_tokens=5)
    found = TextGeneration(replace(chat_spec, load=load)).memory()
    assert found is not None
    assert (found.tokens, found.sequences) == (25, 3)
    model = load_auto(chat_spec, "AutoModelForCausalLM")
    weights = {parameter.data_ptr(): parameter for parameter in model.parameters()}
    stored_mb = sum(p.numel() * p.element_size() for p in weights.values()) / 2**20
    assert found.weights_mb(bits=32) == pytest.approx(stored_mb)
    cache: Any = DynamicCache()
    with torch.inference_mode():
        model(input_ids=torch.ones(3, 25, dtype=torch.long), cache=cache)
    kept_mb = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) / 2**20
    assert found.kv_mb(bits=32, sequences=3) == pytest.approx(kept_mb)


def test_prompts_of_the_data_have_their_mean_length(chat_spec: WorkloadSpec) -> None:
    workload = TextGeneration(replace(chat_spec, load=LoadSpec(rate=(2.0,), output_tokens=5)))
    found = workload.memory()
    lengths = [len(one.prompt) for one in workload.requests(1, 100)]
    assert found is not None and found.sequences is None
    assert min(lengths) + 5 <= found.tokens <= max(lengths) + 5
    assert load_config(chat_spec).num_hidden_layers > 0


def test_layers_count_by_what_they_keep() -> None:
    assert kv_numbers(100) == 2 * 4 * 2 * 8 * 100
    assert kv_numbers(100, head_dim=16) == 2 * 4 * 2 * 16 * 100
    assert kv_numbers(100, num_key_value_heads=None) == 2 * 4 * 4 * 8 * 100
    kinds = ["full_attention", "sliding_attention", "linear_attention", "full_attention"]
    sliding = {"layer_types": kinds, "sliding_window": 30}
    assert kv_numbers(100, **sliding) == 2 * 2 * 8 * (100 + 30 + 0 + 100)
    assert kv_numbers(20, **sliding) == 2 * 2 * 8 * (20 + 20 + 0 + 20)


def test_a_cache_of_another_kind_is_not_known() -> None:
    assert kv_numbers(100, kv_lora_rank=512) is None
    assert memory_of(NOWHERE, SimpleNamespace(state_size=16), 100, Load()) is None
