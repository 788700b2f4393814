"""Greedy decoding in a batch that requests join and leave, against decoding without a cache."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig

from tunefront.evaluators.interfaces import torch_generation
from tunefront.evaluators.interfaces.generation import GenerationRequest, generate
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.torch_generation import TorchGeneration
from tunefront.spaces import EvaluationError

PROMPTS = ((5, 6, 7, 8), (9, 10), (11, 12, 13, 14, 15, 16, 17), (1, 2), (20,), (30, 31, 32))
Greedy = Callable[[Sequence[int], int], list[int]]


def loaded(folder: Path) -> Any:
    auto: Any = AutoModelForCausalLM
    return auto.from_pretrained(folder / "model").eval()


@pytest.fixture(scope="module")
def model(chat_folder: Path) -> Any:
    return loaded(chat_folder)


def greedy(model: Any, prompt: Sequence[int], count: int) -> tuple[int, ...]:
    """The most likely tokens, computed without a cache."""
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return tuple(ids[len(prompt) :])


def requests(lengths: Sequence[int] = (8, 3, 12, 5, 1, 7)) -> list[GenerationRequest]:
    return [
        GenerationRequest(prompt=prompt, new_tokens=length)
        for prompt, length in zip(PROMPTS, lengths, strict=True)
    ]


@pytest.mark.parametrize("max_batch", [1, 2, 4])
@pytest.mark.parametrize("concurrency", [1, 3, 6])
def test_tokens_are_those_without_cache_and_batch(
    model: Any, max_batch: int, concurrency: int
) -> None:
    made = requests()
    endpoint = TorchGeneration(model, max_batch)
    found = generate(endpoint, made, Load(concurrency=concurrency))
    assert [one.tokens for one in found] == [greedy(model, m.prompt, m.new_tokens) for m in made]
    assert endpoint.facts()["max_batch"] == max_batch


@pytest.mark.parametrize("lookup", [1, 3, 5])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_prompt_lookup_changes_no_token_and_takes_fewer_steps(
    model: Any, lookup: int, concurrency: int
) -> None:
    made = [
        GenerationRequest(prompt=prompt * 3, new_tokens=length)
        for prompt, length in zip(PROMPTS, (30, 3, 20, 5, 1, 40), strict=True)
    ]
    endpoint = CountingSteps(model, 4, lookup)
    found = generate(endpoint, made, Load(concurrency=concurrency))
    assert [one.tokens for one in found] == [greedy(model, m.prompt, m.new_tokens) for m in made]
    assert endpoint.facts()["prompt_lookup_tokens"] == lookup
    plain = CountingSteps(model, 4)
    generate(plain, made, Load(concurrency=concurrency))
    assert endpoint.steps < plain.steps


class CountingSteps(TorchGeneration):
    """Counts the steps of running requests."""

    steps = 0

    def _continue(self) -> None:
        self.steps += 1
        super()._continue()


@pytest.mark.parametrize("lookup", [0, 3])
def test_a_sliding_window_hides_padding_and_old_tokens(lookup: int) -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=4,
        initializer_range=0.3,
    )
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(config).eval()
    made = requests()
    found = generate(TorchGeneration(model, 4, lookup), made, Load(concurrency=4))
    assert [one.tokens for one in found] == [greedy(model, m.prompt, m.new_tokens) for m in made]


def test_a_request_joins_those_that_run(model: Any) -> None:
    endpoint = TorchGeneration(model, max_batch=2)
    first = endpoint.submit(requests()[0])
    assert [event.request for event in endpoint.poll(0)] == [first]
    second, third = (endpoint.submit(one) for one in requests()[1:3])
    assert [event.request for event in endpoint.poll(0)] == [second]
    assert [event.request for event in endpoint.poll(0)] == [first, second]
    ended = [event for event in endpoint.poll(0) if event.end]
    assert [event.request for event in ended] == [second]
    assert [event.request for event in endpoint.poll(0)] == [third]


@pytest.mark.parametrize("lookup", [0, 5])
def test_a_response_ends_at_a_stop_token(model: Any, lookup: int) -> None:
    prompt, tokens = PROMPTS[0], greedy(model, PROMPTS[0], 8)
    stop = tokens[3]
    request = GenerationRequest(prompt=prompt, new_tokens=8, stop=(stop,))
    (found,) = generate(TorchGeneration(model, 1, lookup), [request])
    assert found.tokens == tokens[: tokens.index(stop) + 1]


@pytest.mark.parametrize("polls", [0, 1, 3])
def test_a_cancelled_request_ends_with_an_event(model: Any, polls: int) -> None:
    endpoint = TorchGeneration(model, max_batch=2)
    kept, cancelled = (endpoint.submit(one) for one in (requests()[0], requests()[2]))
    before = [event for _ in range(polls) for event in endpoint.poll(0)]
    endpoint.cancel(cancelled)
    endpoint.cancel(99)
    events = before
    while not any(event.end and event.request == kept for event in events):
        events += endpoint.poll(0)
    ends = [event.request for event in events if event.end]
    assert ends == [cancelled, kept]
    found = [token for event in events if event.request == kept for token in event.tokens]
    assert tuple(found) == greedy(model, PROMPTS[0], 8)


def test_an_idle_endpoint_waits(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    assert TorchGeneration(model, 1).poll(0.25) == []
    assert waited == [0.25]


@pytest.mark.parametrize("length", [2, 5, 8, 9, 30])
def test_scores_come_in_portions(model: Any, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_generation, "PORTION", 4)
    tokens = [int(token) for token in np.random.default_rng(0).integers(5, 80, size=length)]
    parts = list(TorchGeneration(model, 1).logits(tokens))
    assert [len(part) for part in parts][:-1] == [4] * (len(parts) - 1)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([tokens])).logits[0, :-1].numpy()
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-4)


def test_scores_that_are_no_numbers_end_the_trial(chat_folder: Path) -> None:
    model = loaded(chat_folder)
    with torch.no_grad():
        model.lm_head.weight[3] = float("nan")
    with pytest.raises(EvaluationError, match="scores hold NaN") as found:
        generate(TorchGeneration(model, 1), requests()[:1])
    assert found.value.cause == "invalid output"


def test_what_the_model_can_t_serve_is_refused(chat_folder: Path) -> None:
    endpoint = TorchGeneration(loaded(chat_folder), 1)
    with pytest.raises(EvaluationError, match="exceed the model's context of 64"):
        endpoint.submit(GenerationRequest(prompt=(1,) * 64, new_tokens=1))
    with pytest.raises(EvaluationError, match="token ids must be from 0 to"):
        endpoint.submit(GenerationRequest(prompt=(-1,), new_tokens=1))
    with pytest.raises(EvaluationError, match="exceeds the model's context of 64"):
        next(endpoint.logits((1,) * 65))


def test_a_model_with_other_layers_is_refused() -> None:
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    model = LlamaForCausalLM(config)
    config.layer_types = ["linear_attention"]
    with pytest.raises(EvaluationError, match="layers of the kind linear_attention") as found:
        TorchGeneration(model, 1)
    assert found.value.cause == "unsupported"
