"""The task `http` in an experiment file: what it resolves to, and what is refused."""

import re
import sys
from pathlib import Path

import pytest

from tunefront.search import Experiment, load_experiment
from tunefront.spaces import ExperimentError, Hardware

FILE = f"""\
name: called
workload:
  task: http
  server:
    command: "{sys.executable} {{folder}}/serve.py --port {{port}} --workers {{workers}}"
  request:
    path: /v1/embeddings
    body: {{input: "{{text}}", dimensions: 64}}
  response: data.0.embedding
  data: rows.jsonl
  load: {{concurrency: [1, 4]}}
  slo: {{e2e_latency_ms: 200}}
space:
  workers: {{values: [1, 2, 4]}}
objectives: {{requests_per_second@4: maximize, e2e_latency_ms@1: minimize}}
limits: {{quality_drop: "<= 1%"}}
budget: {{trials: 2}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(FILE)
    (tmp_path / "rows.jsonl").write_text('{"text": "a b", "answer": "c"}\n')
    return path


def experiment_of(file: Path, laptop: Hardware, *overrides: str) -> Experiment:
    return load_experiment(file, overrides, hardware=laptop)


def refusal(file: Path, laptop: Hardware, *overrides: str) -> str:
    with pytest.raises(ExperimentError) as caught:
        experiment_of(file, laptop, *overrides)
    return re.sub(r"(?m)^\S*/experiment\.yaml", "FILE", str(caught.value))


def test_it_needs_no_model_and_no_transformers(file: Path, laptop: Hardware) -> None:
    assert "transformers" not in laptop.libraries
    found = experiment_of(file, laptop)
    assert found.workload.request is not None
    assert found.workload.request.columns == ("text",)
    assert found.workload.title == "http, POST /v1/embeddings"
    enumeration = found.space.enumerate()
    assert len(enumeration.runnable) == 3, enumeration.dropped
    names = set(found.metrics)
    assert {"goodput@4", "e2e_latency_p99_ms@1", "response_agreement", "exact_match"} <= names
    assert not [name for name in names if "token" in name or "ttft" in name or "itl" in name]
    rate = found.rate
    assert rate is not None and rate.name == "requests_per_second@4"


def test_costs_are_those_of_requests(file: Path, laptop: Hardware) -> None:
    found = experiment_of(
        file,
        laptop,
        "price_per_hour=1",
        "workload.load.concurrency=1",
        "objectives={cost_per_million_requests: minimize}",
    )
    assert "cost_per_million_requests" in found.metrics


def test_a_model_is_named_if_the_command_has_it(file: Path, laptop: Hardware) -> None:
    command = f"{sys.executable} --model {{model}} --port {{port}} --workers {{workers}}"
    found = experiment_of(file, laptop, f"workload.server.command={command}", "workload.model=m")
    assert found.workload.title == "http, model m"


def test_a_service_elsewhere_has_one_trial(file: Path, laptop: Hardware) -> None:
    found = experiment_of(file, laptop, "workload.server={url: 'http://host:8000'}", "space={}")
    assert len(found.space.enumerate().runnable) == 1


def test_capacity_needs_limits_that_requests_have(file: Path, laptop: Hardware) -> None:
    found = experiment_of(file, laptop, "confirmation.capacity=rate")
    assert "capacity" in found.metrics
    message = refusal(file, laptop, "confirmation.capacity=rate", "workload.slo={}")
    assert message.endswith("add the key workload.slo, such as {e2e_latency_ms: 200}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["workload.server={}"], "workload: task http needs 'server', but it is missing"),
        (["workload.request={}"], "workload: task http needs 'request', but it is missing"),
        (["workload.data=null"], "workload: task http needs 'data', but it is missing"),
        (
            ["workload.request={body: {}}"],
            "request.path: a path such as /v1/embeddings is needed, but got ''",
        ),
        (["workload.request.path=v1"], "request.path: a path such as /v1/embeddings is needed"),
        (["workload.request.method=FETCH"], "request.method: unknown value 'FETCH'"),
        (["workload.request.method=GET"], "request.body: a GET request has no body"),
        (
            ["workload.request.headers={Cookie: a}"],
            "request.headers: the value of Cookie would be recorded",
        ),
        (["workload.request.bodyy={}"], "request.bodyy: unknown key; did you mean 'body'?"),
        (
            ["workload.model=./model"],
            "model: ./model would have no effect, because server.command has no placeholder "
            "{model}; add it, or remove the key",
        ),
        (
            [f"workload.server.command={sys.executable} {{model}} {{port}} {{workers}}"],
            "server.command: the placeholder {model} is the folder of the model, but the key "
            "workload.model is missing; add it",
        ),
        (
            ["workload.server.api=chat"],
            "workload.server.api: requests of task http are those of workload.request; remove",
        ),
        (["workload.server.prompts=text"], "workload.server.prompts: requests of task http are"),
        (
            ["workload.load={output_tokens: 3}"],
            "load.output_tokens: requests of task http have no tokens, their length is that of the "
            "rows of data; remove the key",
        ),
        (["workload.load={input_tokens: 3}"], "load.input_tokens: requests of task http have no"),
        (["workload.load={shared_prefix: 3}"], "load.shared_prefix: requests of task http have"),
        (
            ["workload.slo={ttft_ms: 3}"],
            "slo: responses of task http have no tokens, and so no ttft_ms; write "
            "{e2e_latency_ms: 200}",
        ),
        (["workload.slo=mlperf-server"], "slo: responses of task http have no tokens, and so no"),
        (
            ["objectives={ttft_ms@1: minimize}"],
            "no measure produces 'ttft_ms@1' for http; responses over HTTP have no tokens; use "
            "e2e_latency_ms or requests_per_second",
        ),
        (
            ["objectives={output_tokens_per_second: maximize}"],
            "no measure produces 'output_tokens_per_second' for http; responses over HTTP have no",
        ),
        (
            ["workload.samples=a:b"],
            "samples: task http evaluates itself and has no use for a function; remove the key",
        ),
        (
            ["workload.quality={command: 'x {url}'}", "workload.direction=maximize"],
            "quality.command: only task text-generation has it, but the task is http",
        ),
        (
            [
                "workload.task=causal-lm",
                "workload.model=m",
                "workload.load={}",
                "workload.slo={}",
                "workload.server={}",
            ],
            "request: only task http has it, but the task is causal-lm; remove the key",
        ),
        (
            [
                "workload.task=causal-lm",
                "workload.model=m",
                "workload.load={}",
                "workload.slo={}",
                "workload.server={}",
                "workload.request={}",
            ],
            "response: only task http has it, but the task is causal-lm; remove the key",
        ),
        (
            [
                "workload.task=causal-lm",
                "workload.load={}",
                "workload.slo={}",
                "workload.server={}",
            ],
            "FILE:2: workload.model: this key is needed, but it is missing",
        ),
        (["space.precision=[fp32]"], "server: the space has precision, but the command has no"),
    ],
)
def test_what_is_wrong_is_refused(
    file: Path, laptop: Hardware, overrides: list[str], message: str
) -> None:
    assert message in refusal(file, laptop, *overrides)
