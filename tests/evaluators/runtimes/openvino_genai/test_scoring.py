"""Scores of given tokens, and the read-back."""

from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tests.evaluators.runtimes.onnxruntime_genai.conftest import VOCABULARY

from tunefront.evaluators.interfaces.generation import (
    GenerationRequest,
    Scorer,
    generate,
    limits_of,
)
from tunefront.evaluators.runtimes.openvino_genai import conversion, scoring
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError, Value

from .conftest import ChoicesCase

TOKENS = tuple((7 * place + place // 9) % VOCABULARY for place in range(150))


def scores(engine: ChoicesCase, **choices: Value) -> Array:
    with closing(engine(**choices).open()) as endpoint:
        return np.concatenate(list(cast(Scorer, endpoint).logits(TOKENS)))


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> Array:
    import torch
    from transformers import LlamaForCausalLM

    model: Any = LlamaForCausalLM.from_pretrained(checkpoint)
    model.eval()
    with torch.no_grad():
        found: Array = model(torch.tensor([TOKENS])).logits[0, :-1].numpy()
    return found


def difference(found: Array, expected: Array) -> float:
    """Root mean square of the differences, relative to the spread of the scores."""
    return float(np.sqrt(np.square(found - expected).mean()) / expected.std())


def test_scores_are_those_of_transformers(engine: ChoicesCase, expected: Array) -> None:
    found = scores(engine)
    assert found.dtype == np.float32
    assert found.shape == (len(TOKENS) - 1, VOCABULARY)
    assert difference(found, expected) < 1e-5


def test_portions_have_the_scores_of_the_whole(
    engine: ChoicesCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scores(engine)
    monkeypatch.setattr(scoring, "PORTION_TOKENS", 40)
    assert difference(scores(engine), whole) < 1e-5


@pytest.mark.parametrize(
    ("choices", "low", "high"),
    [
        ({"quantization_bits": 8}, 1e-3, 0.05),
        ({"quantization_bits": 4}, 0.01, 0.5),
        ({"kv_cache_bits": 8}, 1e-4, 0.05),
        ({"kv_cache_bits": 4}, 0.01, 0.5),
    ],
    ids=["w8", "w4", "kv8", "kv4"],
)
def test_number_formats_have_their_effect_on_scores(
    engine: ChoicesCase, expected: Array, choices: dict[str, Value], low: float, high: float
) -> None:
    assert low < difference(scores(engine, **choices), expected) < high


@pytest.mark.parametrize(
    "choices", [{}, {"kv_cache_bits": 4, "quantization_bits": 8}], ids=["fp32", "w8 kv4"]
)
def test_scores_explain_the_generated_tokens(
    engine: ChoicesCase, choices: dict[str, Value]
) -> None:
    """The engine's own tokens have the highest scores, after the tokens before them."""
    request = GenerationRequest(prompt=TOKENS[:40], new_tokens=24)
    with closing(engine(**choices).open()) as endpoint:
        tokens = generate(endpoint, [request])[0].tokens
        portions = cast(Scorer, endpoint).logits((*request.prompt, *tokens))
        best = np.concatenate(list(portions))[39:].argmax(axis=1)
    assert tuple(best.tolist()) == tokens


@pytest.mark.parametrize(
    ("choices", "expected_facts", "bits"),
    [
        ({}, {"precision": "fp32", "quantization_bits": 16, "kv_cache_bits": 16}, 32.0),
        (
            {"quantization_bits": 8, "threads": 2, "kv_cache_bits": 8},
            {"quantization_bits": 8, "quantization_method": "rtn", "threads": 2},
            8.0,
        ),
        (
            {"quantization_bits": 4, "kv_cache_bits": 4, "group_size": 64},
            {"quantization_bits": 4, "group_size": 64, "kv_cache_bits": 4, "threads": 1},
            None,
        ),
    ],
    ids=["fp32", "w8 kv8", "w4 kv4"],
)
def test_facts_are_read_from_graph_and_plugin(
    engine: ChoicesCase,
    choices: dict[str, Value],
    expected_facts: dict[str, Value],
    bits: float | None,
) -> None:
    with closing(engine(**choices).open()) as endpoint:
        facts = endpoint.facts()
    assert facts.items() >= expected_facts.items()
    if bits is None:
        assert 4 <= float(facts["weight_bits"]) < 8
    else:
        assert facts["weight_bits"] == pytest.approx(bits, rel=0.1)


def test_a_window_of_earlier_tokens_is_refused(lm_folder: Path, tmp_path: Path) -> None:
    """Paged attention would attend to all of them."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
    )
    torch.manual_seed(0)
    MistralForCausalLM(config).save_pretrained(tmp_path / "model")
    with pytest.raises(EvaluationError) as raised:
        conversion.convert_checkpoint(tmp_path / "model", tmp_path)
    assert str(raised.value) == (
        "openvino-genai: layer 0 has a DynamicSlidingWindowLayer, but only models whose layers "
        "attend to all earlier tokens can be converted; use another runtime"
    )


def test_other_scores_than_the_model_s_are_refused(
    checkpoint: Path, engine: ChoicesCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph of one model is compared with another one."""
    import torch

    folder = engine().built.folder
    model: Any = conversion._load(checkpoint)
    conversion._check(model, folder)
    with torch.no_grad():
        model.lm_head.weight += 0.01
    with pytest.raises(EvaluationError, match=r"differ from the model's by 0\.\d+ of the largest"):
        conversion._check(model, folder)


def test_a_model_that_can_t_be_traced_is_unsupported(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("not traceable")

    monkeypatch.setattr(conversion, "_traced", broken)
    with pytest.raises(EvaluationError, match="openvino-genai: not traceable") as raised:
        conversion.convert_checkpoint(checkpoint, tmp_path)
    assert raised.value.cause == "unsupported"


def test_a_folder_without_a_known_model_is_unsupported(tmp_path: Path) -> None:
    for read in (limits_of, conversion._load):
        with pytest.raises(EvaluationError, match=str(tmp_path)) as raised:
            read(tmp_path)
        assert raised.value.cause == "unsupported"


def test_a_graph_without_attention_is_unsupported(tmp_path: Path) -> None:
    import openvino
    from openvino import opset13

    given = opset13.parameter([-1, 4], np.float32, name="input_ids")
    model: Any = openvino.Model
    openvino.save_model(model([opset13.relu(given)], [given], "plain"), tmp_path / "plain.xml")
    with pytest.raises(EvaluationError, match="openvino-genai: ") as raised:
        scoring.PagedModel(tmp_path / "plain.xml", {})
    assert raised.value.cause == "unsupported"


def test_an_error_of_quantization_is_unsupported(
    engine: ChoicesCase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such mode")

    case = engine()
    monkeypatch.setattr("tunefront.evaluators.runtimes.openvino_genai.runtime.quantized", broken)
    with pytest.raises(EvaluationError, match="openvino-genai: no such mode"):
        case.runtime.build(case.source, case.configuration, tmp_path)
