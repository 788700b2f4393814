"""Tokens are those of transformers whatever shares a batch; batches have the size chosen."""

import json
import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    ModelLimits,
    TokenEvent,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.runtimes.base import Built
from tunefront.evaluators.runtimes.onnxruntime_genai.batch import Batch
from tunefront.evaluators.runtimes.onnxruntime_genai.model import CONFIG_FILE
from tunefront.evaluators.runtimes.onnxruntime_genai.runtime import OnnxRuntimeGenAi
from tunefront.spaces import EvaluationError

from .conftest import CONTEXT, NEW_TOKENS, PROMPTS, VOCABULARY, ChoicesCase, Greedy

REQUESTS = [
    GenerationRequest(prompt=prompt, new_tokens=NEW_TOKENS + place)
    for place, prompt in enumerate(PROMPTS)
]


def ended(endpoint: GenerationEndpoint) -> list[TokenEvent]:
    """The events until no request is in progress."""
    events: list[TokenEvent] = []
    while new := endpoint.poll(0.0):
        events += new
    return events


@pytest.mark.parametrize("concurrency", [1, 3, 4])
def test_tokens_are_those_of_transformers(
    engine: ChoicesCase, greedy: Greedy, concurrency: int
) -> None:
    with closing(engine().open()) as endpoint:
        found = generate(endpoint, REQUESTS, Load(concurrency=concurrency))
    assert [list(one.tokens) for one in found] == [
        greedy(request.prompt, request.new_tokens) for request in REQUESTS
    ]


def test_the_end_token_of_the_model_ends_nothing(
    engine: ChoicesCase, greedy: Greedy, tmp_path: Path
) -> None:
    """The model's end token is made one that stands in the middle of a response."""
    case = engine()
    expected = greedy(PROMPTS[0], NEW_TOKENS)
    folder = shutil.copytree(case.built.folder, tmp_path / "built")
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["model"]["eos_token_id"] = expected[2]
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    built = Built(folder=folder, settings=case.built.settings)
    with closing(OnnxRuntimeGenAi().open(built, case.configuration)) as endpoint:
        (found,) = generate(endpoint, [GenerationRequest(prompt=PROMPTS[0], new_tokens=NEW_TOKENS)])
    assert list(found.tokens) == expected


def test_rows_start_again_where_the_library_ends_one(engine: ChoicesCase, greedy: Greedy) -> None:
    """The tokens are the same if every response meets the end token that the model is opened with.

    That is what happens with the last token of the vocabulary, if it is generated at all.
    """
    case = engine()
    expected = [greedy(request.prompt, request.new_tokens) for request in REQUESTS]
    for end_token in {tokens[2] for tokens in expected}:
        settings = {**case.built.settings, "end_token": end_token}
        built = Built(folder=case.built.folder, settings=settings)
        with closing(OnnxRuntimeGenAi().open(built, case.configuration)) as endpoint:
            found = generate(endpoint, REQUESTS, Load(concurrency=4))
        assert [list(one.tokens) for one in found] == expected


def test_a_response_ends_with_a_token_of_stop_while_others_go_on(
    engine: ChoicesCase, greedy: Greedy
) -> None:
    responses = [greedy(prompt, NEW_TOKENS) for prompt in PROMPTS]
    stop = responses[0][2]
    requests = [
        GenerationRequest(prompt=prompt, new_tokens=NEW_TOKENS, stop=(stop,) if not place else ())
        for place, prompt in enumerate(PROMPTS)
    ]
    with closing(engine().open()) as endpoint:
        found = generate(endpoint, requests, Load(concurrency=4))
    assert list(found[0].tokens) == responses[0][: responses[0].index(stop) + 1]
    assert [list(one.tokens) for one in found[1:]] == responses[1:]


def test_a_batch_has_at_most_the_number_of_requests_chosen(engine: ChoicesCase) -> None:
    """All requests of a batch have a token in each step."""
    with closing(engine(execution={"max_batch": 3}).open()) as endpoint:
        assert endpoint.facts()["max_batch"] == 3
        for request in (*REQUESTS, *REQUESTS):
            endpoint.submit(request)
        steps = Counter(event.arrival_s for event in ended(endpoint))
    assert max(steps.values()) == 3


def test_requests_that_do_not_fit_into_the_context_together_run_one_after_the_other(
    engine: ChoicesCase, greedy: Greedy
) -> None:
    """A long prompt and a long response, each within the context."""
    long_prompt = tuple(place % VOCABULARY for place in range(CONTEXT - 4))
    requests = [
        GenerationRequest(prompt=long_prompt, new_tokens=4),
        GenerationRequest(prompt=(5, 6), new_tokens=40),
    ]
    with closing(engine().open()) as endpoint:
        found = generate(endpoint, requests, Load(concurrency=2))
    assert [list(one.tokens) for one in found] == [
        greedy(request.prompt, request.new_tokens) for request in requests
    ]


@pytest.mark.parametrize("started", [False, True])
def test_a_cancelled_request_ends_with_an_event(engine: ChoicesCase, started: bool) -> None:
    with closing(engine().open()) as endpoint:
        numbers = [endpoint.submit(request) for request in REQUESTS]
        events = list(endpoint.poll(0.0)) if started else []
        endpoint.cancel(numbers[1])
        endpoint.cancel(numbers[1])
        endpoint.cancel(99)
        events += ended(endpoint)
    ends = [event for event in events if event.end]
    assert sorted(event.request for event in ends) == numbers
    tokens = sum(len(event.tokens) for event in events if event.request == numbers[1])
    assert tokens == int(started)


def test_without_requests_nothing_arrives(engine: ChoicesCase) -> None:
    with closing(engine().open()) as endpoint:
        assert endpoint.poll(0.0) == ()


def test_threads_are_counted(engine: ChoicesCase) -> None:
    for threads in (1, 2):
        with closing(engine(execution={"threads": threads}).open()) as endpoint:
            assert endpoint.facts()["threads"] == threads


def test_a_step_that_fails_ends_its_requests_with_the_reason(engine: ChoicesCase) -> None:
    """The library's error is made by a token that the check lets pass."""
    with closing(engine().open()) as endpoint:
        lenient = ModelLimits(context=CONTEXT, vocabulary=10**6)
        endpoint._limits = lenient  # type: ignore[attr-defined]
        number = endpoint.submit(GenerationRequest(prompt=(10**5,), new_tokens=2))
        (event,) = endpoint.poll(0.0)
        assert (event.request, event.end) == (number, True)
        assert "indices element out of data bounds" in event.error
        generate(endpoint, REQUESTS[:1])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (GenerationRequest(prompt=(5,) * 250, new_tokens=7), "exceed the model's context of 256"),
        (GenerationRequest(prompt=(5, VOCABULARY), new_tokens=1), "token ids must be from 0 to 79"),
    ],
)
def test_requests_that_the_model_cant_answer(
    engine: ChoicesCase, request_: GenerationRequest, message: str
) -> None:
    with closing(engine().open()) as endpoint:
        with pytest.raises(EvaluationError, match=message) as caught:
            endpoint.submit(request_)
        assert caught.value.cause == "unsupported"


def test_prompts_of_a_model_that_can_not_be_padded_share_a_batch_by_length(
    engine: ChoicesCase,
) -> None:
    case = engine()
    built = Built(folder=case.built.folder, settings={**case.built.settings, "pads": False})
    requests = [GenerationRequest(prompt=one, new_tokens=2) for one in ((5, 6), (7, 8), (9,))]
    with closing(OnnxRuntimeGenAi().open(built, case.configuration)) as endpoint:
        for request in requests:
            endpoint.submit(request)
        steps = Counter(event.arrival_s for event in ended(endpoint))
    assert sorted(steps.values()) == [1, 1, 2, 2]


def test_too_little_memory_is_a_cause_of_its_own(
    engine: ChoicesCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Batch) -> list[TokenEvent]:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 1")

    monkeypatch.setattr(Batch, "step", fails)
    with closing(engine().open()) as endpoint:
        endpoint.submit(REQUESTS[0])
        with pytest.raises(EvaluationError, match="Failed to allocate memory") as caught:
            endpoint.poll(0.0)
    assert caught.value.cause == "oom"
