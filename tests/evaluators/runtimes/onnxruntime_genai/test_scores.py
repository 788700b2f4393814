"""Scores of given tokens agree with transformers; formats are what they are named."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tunefront.evaluators.interfaces.generation import GenerationEndpoint, Scorer
from tunefront.evaluators.runtimes.onnxruntime_genai.graph import GenAiGraph
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError, Value

from .conftest import CONTEXT, VOCABULARY, ChoicesCase

TOKENS = tuple((7 * place + place // 9) % VOCABULARY for place in range(150))
"""More tokens than are scored together."""
W4: dict[str, Value] = {
    "quantization_bits": 4,
    "quantization_method": "dynamic",
    "group_size": 64,
}
W8: dict[str, Value] = {"quantization_bits": 8, "quantization_method": "rtn"}


def scores(endpoint: GenerationEndpoint, tokens: Sequence[int] = TOKENS) -> Array:
    return np.concatenate(list(cast(Scorer, endpoint).logits(tokens)))


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> Array:
    import torch
    from transformers import LlamaForCausalLM

    module = LlamaForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():
        found: Array = module(torch.tensor([TOKENS])).logits[0, :-1].numpy()
    return found


@pytest.mark.parametrize(
    ("format_", "largest"),
    [({}, 1e-5), (W4, 0.8), pytest.param(W8, 0.05, marks=pytest.mark.soak)],
    ids=["fp32", "w4", "w8"],
)
def test_scores_are_close_to_transformers(
    engine: ChoicesCase, expected: Array, format_: dict[str, Value], largest: float
) -> None:
    """Root mean square of the differences, relative to the spread of the scores."""
    with closing(engine(**format_).open()) as endpoint:
        found = scores(endpoint)
    assert found.dtype == np.float32
    assert found.shape == (len(TOKENS) - 1, VOCABULARY)
    difference = np.sqrt(np.square(found - expected).mean()) / expected.std()
    assert difference < largest
    assert not format_ or difference > 1e-3


def test_scores_do_not_disturb_a_running_batch(engine: ChoicesCase) -> None:
    from tunefront.evaluators.interfaces.generation import generate

    requests = engine().source.prompts
    with closing(engine().open()) as endpoint:
        alone = generate(endpoint, requests[:1])
        number = endpoint.submit(requests[0])
        events = list(endpoint.poll(0.0))
        scores(endpoint)
        while not events[-1].end:
            events += endpoint.poll(0.0)
    assert {event.request for event in events} == {number}
    assert tuple(token for event in events for token in event.tokens) == alone[0].tokens


def test_more_tokens_than_the_context_are_refused(engine: ChoicesCase) -> None:
    with closing(engine().open()) as endpoint, pytest.raises(EvaluationError, match="context"):
        scores(endpoint, (5,) * (CONTEXT + 1))


@pytest.mark.parametrize(
    ("format_", "bits", "expected_facts"),
    [
        ({}, 32.0, {"quantization_bits": 16}),
        (W4, None, {"quantization_bits": 4, "quantization_method": "dynamic", "group_size": 64}),
        pytest.param(
            W8,
            None,
            {"quantization_bits": 8, "quantization_method": "rtn"},
            marks=pytest.mark.soak,
        ),
    ],
    ids=["fp32", "w4", "w8"],
)
def test_facts_are_read_from_the_graph(
    engine: ChoicesCase,
    format_: dict[str, Value],
    bits: float | None,
    expected_facts: dict[str, Value],
) -> None:
    with closing(engine(**format_).open()) as endpoint:
        facts = endpoint.facts()
    assert facts.items() >= expected_facts.items()
    assert (facts["device"], facts["precision"], facts["kv_cache_bits"]) == ("cpu", "fp32", 16)
    embedding, layer = VOCABULARY * 64, 64 * (64 + 64) + 64 * 64 + 3 * 64 * 128
    assert facts["parameters"] == 2 * embedding + 2 * layer
    if bits is None:
        bits = (32 * embedding + int(format_["quantization_bits"]) * (embedding + 2 * layer)) / (
            2 * embedding + 2 * layer
        )
    assert facts["weight_bits"] == pytest.approx(bits)


def test_activations_in_fp32_are_read_back_whatever_the_graph_asks_for(
    engine: ChoicesCase, tmp_path: Path
) -> None:
    """A product whose attribute is the lower level has the results of fp32."""
    import onnx

    case = engine(**W4)
    path = case.built.folder / "model.onnx"
    model = onnx.load(str(path))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    onnx.save(model, str(tmp_path / "model.onnx"))
    found = GenAiGraph(tmp_path).quantization()
    assert found["quantization_method"] == "rtn"


def test_prompts_of_different_lengths_share_a_batch_of_this_model(engine: ChoicesCase) -> None:
    assert engine().built.settings == {"pads": True, "end_token": VOCABULARY - 1}
