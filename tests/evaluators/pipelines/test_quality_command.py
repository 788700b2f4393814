"""Quality by a command of the user, which sends requests to the candidate."""

import http.client
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.conftest import QUESTIONS

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    TokenEvent,
    generate,
)
from tunefront.evaluators.pipelines.tasks.quality_command import (
    SERVED_NAME,
    check_command,
    response_tokens,
    served,
    with_command,
)
from tunefront.evaluators.workloads.quality import Quality
from tunefront.evaluators.workloads.text_generation.workload import TextGeneration
from tunefront.spaces import EvaluationError, WorkloadError

EVAL = f"""
import json, sys, urllib.request
url, model = sys.argv[1:]
scores = []
for prompt in {list(QUESTIONS[:3])!r}:
    body = {{"model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0}}
    request = urllib.request.Request(url + "/v1/completions", json.dumps(body).encode(),
                                     {{"content-type": "application/json"}})
    with urllib.request.urlopen(request) as answer:
        scores.append(len(json.load(answer)["choices"][0]["text"].split()))
print("words")
print(json.dumps(scores))
"""


@pytest.fixture(scope="module")
def workload(chat_spec: WorkloadSpec, chat_folder: Path) -> TextGeneration:
    (chat_folder / "count_words.py").write_text(EVAL)
    command = f"{sys.executable} count_words.py {{url}} {{model}}"
    return TextGeneration(replace(chat_spec, quality_command=command, metric="words"))


@pytest.fixture(scope="module")
def endpoint(workload: TextGeneration) -> GenerationEndpoint:
    return workload.reference()


@pytest.fixture(scope="module")
def plain(workload: TextGeneration, endpoint: GenerationEndpoint) -> Quality:
    return workload.quality(endpoint, None)


def texts(workload: TextGeneration, endpoint: GenerationEndpoint) -> list[str]:
    tokenizer = workload._tokenizer
    asked = [
        GenerationRequest(
            prompt=tuple(tokenizer(question)["input_ids"]),
            new_tokens=4,
            stop=tuple(workload.stop_tokens()),
        )
        for question in QUESTIONS[:3]
    ]
    found = [generate(endpoint, [one])[0].tokens for one in asked]
    return [str(tokenizer.decode(list(one), skip_special_tokens=True)) for one in found]


def test_its_scores_are_the_primary_metric(
    workload: TextGeneration, endpoint: GenerationEndpoint, plain: Quality
) -> None:
    found = with_command(workload, endpoint, plain)
    assert list(found.items) == [len(text.split()) for text in texts(workload, endpoint)]
    assert next(iter(found.metrics)) == workload.primary.name == "words"
    assert found.metrics["words"].samples == 3
    assert {"perplexity", "exact_match"} <= found.metrics.keys()
    assert workload.samples(endpoint, found) == workload.samples(endpoint, plain)


def test_its_files_are_part_of_the_fingerprint(workload: TextGeneration) -> None:
    assert "count_words.py" in {path.name for path in workload.files()}
    assert not workload.files_are_complete


def test_it_is_run_on_empty_responses_before_the_search(
    workload: TextGeneration, chat_folder: Path
) -> None:
    check_command(workload)
    check_command(TextGeneration(replace(workload.spec, quality_command=None)))
    (chat_folder / "fails.py").write_text("raise ValueError('no words')")
    command = f"{sys.executable} fails.py {{url}}"
    message = "exited with code 1: .*ValueError: no words\nThe command was run on empty responses"
    with pytest.raises(WorkloadError, match=f"(?s){message}"):
        check_command(TextGeneration(replace(workload.spec, quality_command=command)))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("print('3 words')", "must be a JSON number or a list .* but got '3 words'"),
        ("", "must be a JSON number or a list .* but got ''"),
        ("print('[1, NaN]')", "must return finite numbers, but 1 of 2 are not"),
        ("import sys; sys.exit('no')", "exited with code 1: no"),
    ],
)
def test_what_it_prints_is_checked(
    workload: TextGeneration,
    endpoint: GenerationEndpoint,
    plain: Quality,
    chat_folder: Path,
    script: str,
    message: str,
) -> None:
    (chat_folder / "odd.py").write_text(script)
    spec = replace(workload.spec, quality_command=f"{sys.executable} odd.py {{url}}")
    with pytest.raises(EvaluationError, match=message):
        with_command(TextGeneration(spec), endpoint, plain)


def test_a_program_that_is_missing_is_named(
    workload: TextGeneration, endpoint: GenerationEndpoint, plain: Quality
) -> None:
    spec = replace(workload.spec, quality_command="no-such-program {url}")
    with pytest.raises(EvaluationError, match="'no-such-program' can't be started"):
        with_command(TextGeneration(spec), endpoint, plain)


def test_a_server_is_asked_directly(
    workload: TextGeneration,
    endpoint: GenerationEndpoint,
    plain: Quality,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint, "address", ("http://127.0.0.1:1", "named"), raising=False)
    script = "import json, sys; print(json.dumps(len(sys.argv[1])))"
    (Path(workload.spec.folder) / "length.py").write_text(script)
    spec = replace(workload.spec, quality_command=f"{sys.executable} length.py {{url}}{{model}}")
    found = with_command(TextGeneration(spec), endpoint, plain)
    assert found.metrics["words"].value == len("http://127.0.0.1:1named")
    assert found.metrics["words"].samples == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("eval.py", r"quality.command: \{url\}, the address of the server, is missing"),
        ("eval.py {urls}", r"unknown placeholder \{urls\}; did you mean 'url'\?"),
        ("eval.py '{url}", "can't be split into words with placeholders: No closing quotation"),
        ("eval.py {url} {", "can't be split into words with placeholders"),
    ],
)
def test_a_command_that_can_t_be_used_is_refused(
    chat_spec: WorkloadSpec, command: str, message: str
) -> None:
    with pytest.raises(WorkloadError, match=message):
        replace(chat_spec, quality_command=command)


def test_other_tasks_refuse_a_command(lm_spec: WorkloadSpec) -> None:
    with pytest.raises(WorkloadError, match="quality.command: only task text-generation has it"):
        replace(lm_spec, quality_command="eval.py {url}")


def test_a_response_that_is_not_taken_whole_is_cancelled(endpoint: GenerationEndpoint) -> None:
    request = GenerationRequest(prompt=(5, 6, 7), new_tokens=9)
    whole = list(generate(endpoint, [request])[0].tokens)
    part = response_tokens(endpoint, request.prompt, 9)
    assert [next(part) for _ in range(3)] == whole[:3]
    part.close()  # type: ignore[attr-defined]
    assert list(response_tokens(endpoint, request.prompt, 9)) == whole


def test_a_request_that_fails_is_an_error() -> None:
    class Fails(SimpleNamespace):
        def poll(self, timeout_s: float) -> list[TokenEvent]:
            return [TokenEvent(request=1, tokens=(), arrival_s=0.0, end=True, error="no memory")]

    failing = Fails(submit=lambda request: 1)
    with pytest.raises(EvaluationError, match="a request failed: no memory"):
        list(response_tokens(failing, (1,), 2))  # type: ignore[arg-type]


def asked(
    url: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Return status and content of a response; a request with a body is a POST."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    content = None if body is None else json.dumps(body)
    fields = {"content-type": "application/json", **(headers or {})}
    connection.request("GET" if body is None else "POST", path, content, fields)
    response = connection.getresponse()
    status, found = response.status, response.read()
    connection.close()
    return status, json.loads(found) if status == 200 else found


def test_it_serves_loopback_only_and_ends(workload: TextGeneration) -> None:
    with served(workload, lambda *given: ()) as url:
        assert url.startswith("http://127.0.0.1:")
        status, listed = asked(url, "/v1/models")
        assert (status, [one["id"] for one in listed["data"]]) == (200, [SERVED_NAME])
        assert asked(url, "/v1/models", headers={"host": "other.example"})[0] == 421
        status, answer = asked(url, "/v1/completions", {"prompt": "the model", "max_tokens": 3})
        assert (status, answer["choices"][0]["text"]) == (200, "")
    with pytest.raises(ConnectionRefusedError):
        asked(url, "/v1/models")
