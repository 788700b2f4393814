"""Tokens, times and ends of requests."""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.evaluators.runtimes.onnxruntime_genai.conftest import CONTEXT, VOCABULARY

from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    TokenEvent,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.runtimes.openvino_genai.endpoint import OpenVinoGenAiEndpoint
from tunefront.evaluators.workloads.text_generation.scoring import logits_of
from tunefront.spaces import EvaluationError, Value

from .conftest import ChoicesCase

PROMPTS = tuple(tuple((7 * n + 3 * place) % VOCABULARY for place in range(20)) for n in range(1, 5))
NEW_TOKENS = 24
REQUESTS = [GenerationRequest(prompt=one, new_tokens=NEW_TOKENS) for one in PROMPTS]


@pytest.fixture(scope="module")
def greedy(checkpoint: Path) -> list[tuple[int, ...]]:
    """The responses of transformers in fp32."""
    import torch
    from transformers import LlamaForCausalLM

    model: Any = LlamaForCausalLM.from_pretrained(checkpoint)
    model.eval()

    def response(prompt: Sequence[int]) -> tuple[int, ...]:
        ids = list(prompt)
        for _ in range(NEW_TOKENS):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        return tuple(ids[len(prompt) :])

    return [response(prompt) for prompt in PROMPTS]


def to_the_end(endpoint: GenerationEndpoint, number: int) -> list[TokenEvent]:
    events: list[TokenEvent] = []
    while not any(event.end for event in events):
        events += [event for event in endpoint.poll(1.0) if event.request == number]
    return events


@pytest.mark.parametrize("concurrency", [1, 4])
def test_tokens_are_those_of_transformers(
    engine: ChoicesCase, greedy: list[tuple[int, ...]], concurrency: int
) -> None:
    with closing(engine().open()) as endpoint:
        responses = generate(endpoint, REQUESTS, Load(concurrency=concurrency))
    assert [one.tokens for one in responses] == greedy


def test_prompts_that_take_several_steps_give_the_same_tokens(
    engine: ChoicesCase, greedy: list[tuple[int, ...]]
) -> None:
    case = engine(scheduler_max_tokens=16)
    with closing(case.open()) as endpoint:
        assert [one.tokens for one in generate(endpoint, REQUESTS)] == greedy


def test_a_step_computes_at_most_the_chosen_number_of_tokens(engine: ChoicesCase) -> None:
    """A prompt of 20 tokens needs two steps of at most 16, and one of more."""
    steps = {}
    for tokens in (16, 256):
        with closing(engine(scheduler_max_tokens=tokens).open()) as endpoint:
            number = endpoint.submit(REQUESTS[0])
            steps[tokens] = 1
            while not endpoint.poll(0.0):
                steps[tokens] += 1
            endpoint.cancel(number)
    assert steps == {16: 2, 256: 1}


def test_a_response_ends_with_a_stop_token(
    engine: ChoicesCase, greedy: list[tuple[int, ...]]
) -> None:
    tokens = greedy[0]
    stop = next(token for token in tokens[3:] if token not in tokens[:3])
    first = tokens.index(stop)
    unused = next(token for token in range(VOCABULARY) if token not in tokens)
    with closing(engine().open()) as endpoint:
        for stops, expected in (((unused, stop), tokens[: first + 1]), ((unused,), tokens)):
            request = GenerationRequest(prompt=PROMPTS[0], new_tokens=NEW_TOKENS, stop=stops)
            assert generate(endpoint, [request])[0].tokens == expected


def test_at_most_max_batch_requests_are_in_the_engine(engine: ChoicesCase) -> None:
    with closing(engine(max_batch=2).open()) as endpoint:
        for request in REQUESTS:
            endpoint.submit(request)
        pipeline = cast(OpenVinoGenAiEndpoint, endpoint)._pipeline
        seen = 0
        ended = 0
        while ended < len(REQUESTS):
            ended += sum(event.end for event in endpoint.poll(1.0))
            seen = max(seen, pipeline.get_metrics().scheduled_requests)
    assert seen == 2


def test_a_cancelled_request_ends_with_an_event(engine: ChoicesCase) -> None:
    """One that runs and one that waits; the others are not disturbed."""
    with closing(engine(max_batch=1).open()) as endpoint:
        running, waiting, last = (endpoint.submit(one) for one in REQUESTS[:3])
        endpoint.cancel(running)
        endpoint.cancel(waiting)
        for number in (running, waiting, 99):
            endpoint.cancel(number)
        events = to_the_end(endpoint, running)
        assert [(one.tokens, one.error) for one in events] == [((), "")]
        assert sum(len(one.tokens) for one in to_the_end(endpoint, last)) == NEW_TOKENS
        assert not endpoint.poll(0.0)


def test_both_cancelled_requests_end_in_one_poll(engine: ChoicesCase) -> None:
    with closing(engine(max_batch=1).open()) as endpoint:
        numbers = [endpoint.submit(one) for one in REQUESTS[:2]]
        for number in numbers:
            endpoint.cancel(number)
        assert [one.request for one in endpoint.poll(0.0) if one.end] == numbers


def test_an_idle_poll_waits(engine: ChoicesCase) -> None:
    with closing(engine().open()) as endpoint:
        start = time.perf_counter()
        assert not endpoint.poll(0.05)
        assert time.perf_counter() - start >= 0.05


def test_closing_with_requests_in_progress_leaks_nothing(
    engine: ChoicesCase, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint = engine().open()
    for request in REQUESTS:
        endpoint.submit(request)
    endpoint.poll(0.0)
    endpoint.close()
    endpoint.close()
    assert "leaked" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("concurrency", [1, 4])
def test_prompt_lookup_changes_no_token_and_takes_fewer_steps(
    engine: ChoicesCase, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [replace(one, prompt=one.prompt[:5] * 4) for one in REQUESTS]
    took: list[OpenVinoGenAiEndpoint] = []
    step = OpenVinoGenAiEndpoint._step

    def counted(endpoint: OpenVinoGenAiEndpoint) -> None:
        took.append(endpoint)
        step(endpoint)

    monkeypatch.setattr(OpenVinoGenAiEndpoint, "_step", counted)
    found, steps = [], []
    for lookup in (0, 3):
        with closing(engine(prompt_lookup_tokens=lookup).open()) as endpoint:
            responses = generate(endpoint, made, Load(concurrency=concurrency))
            found.append([one.tokens for one in responses])
            steps.append(sum(one is endpoint for one in took))
            assert endpoint.facts()["prompt_lookup_tokens"] == lookup
            stop = found[0][0][10]
            (ended,) = generate(endpoint, [replace(made[0], stop=(stop,))])
            assert ended.tokens == found[0][0][: found[0][0].index(stop) + 1]
    assert found[0] == found[1]
    assert steps[1] < steps[0]


def test_a_pipeline_without_prompt_lookup_is_read_back(engine: ChoicesCase) -> None:
    with closing(engine().open()) as endpoint:
        assert isinstance(endpoint, OpenVinoGenAiEndpoint)
        settings = endpoint._settings
        endpoint._settings = replace(settings, lookup=3)
        assert endpoint.facts()["prompt_lookup_tokens"] == 0


@pytest.mark.parametrize(
    "choices", [{}, {"kv_cache_bits": 8, "prompt_lookup_tokens": 3, "scheduler_max_tokens": 16}]
)
def test_a_prefix_cache_is_read_back_and_changes_no_token(
    engine: ChoicesCase, choices: dict[str, Value]
) -> None:
    beginning = tuple((5 * place) % VOCABULARY for place in range(70))
    made = [replace(one, prompt=(*beginning, *one.prompt)) for one in REQUESTS]
    found = []
    for kept in (False, True):
        with closing(engine(prefix_cache=kept, **choices).open()) as endpoint:
            assert endpoint.facts()["prefix_cache"] is kept
            found.append([one.tokens for one in generate(endpoint, made)])
            assert endpoint.facts()["prefix_cache"] is kept
    assert found[0] == found[1]


def test_what_the_model_can_t_serve_is_refused(engine: ChoicesCase) -> None:
    with closing(engine().open()) as endpoint:
        with pytest.raises(EvaluationError, match=f"exceed the model's context of {CONTEXT}"):
            endpoint.submit(GenerationRequest(prompt=(1,) * CONTEXT, new_tokens=1))
        with pytest.raises(EvaluationError, match=f"token ids must be from 0 to {VOCABULARY - 1}"):
            endpoint.submit(GenerationRequest(prompt=(VOCABULARY,), new_tokens=1))
        with pytest.raises(EvaluationError, match=f"exceeds the model's context of {CONTEXT}"):
            next(logits_of(endpoint)((1,) * (CONTEXT + 1)))


def test_a_failed_step_is_a_crash(engine: ChoicesCase) -> None:
    class Broken:
        def has_non_finished_requests(self) -> bool:
            return True

        def step(self) -> None:
            raise RuntimeError("no step")

    endpoint = cast(OpenVinoGenAiEndpoint, engine().open())
    pipeline, endpoint._pipeline = endpoint._pipeline, Broken()
    with pytest.raises(EvaluationError, match="openvino-genai: no step") as raised:
        endpoint.poll(0.0)
    assert raised.value.cause == "crash"
    endpoint._pipeline = pipeline
    endpoint.close()


def test_a_request_without_memory_fails(engine: ChoicesCase) -> None:
    class Ignored:
        def can_read(self) -> bool:
            return False

        def get_status(self) -> object:
            return type("Status", (), {"name": "IGNORED"})

    with closing(cast(OpenVinoGenAiEndpoint, engine().open())) as endpoint:
        endpoint._running[7] = Ignored()
        (event,) = endpoint.poll(0.0)
    assert (event.request, event.end) == (7, True)
    assert event.error == "openvino-genai ended it with status IGNORED"


def test_the_script_runs_without_tunefront(
    engine: ChoicesCase, greedy: list[tuple[int, ...]], tmp_path: Path
) -> None:
    case = engine(quantization_bits=16, threads=2)
    deployment = case.runtime.deployment(case.built, case.configuration)
    assert deployment is not None
    for file in case.built.folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    call = f"print(run(load(), {list(PROMPTS[0])}, {NEW_TOKENS}))"
    (tmp_path / "run.py").write_text(f"{deployment.script}\n\n{call}\n")
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "run.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(list(greedy[0]))
