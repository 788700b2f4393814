"""Text generation by `transformers`: from the experiment file to a verified export that answers."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner, Result

from tunefront.evaluators.exports.open import open_candidate
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    ServerSpec,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.runtimes.server.endpoint import ServerEndpoint
from tunefront.evaluators.runtimes.server.protocol import Tokenizer
from tunefront.search import load_experiment, run_search
from tunefront.search.cli import tunefront as cli
from tunefront.search.results.metadata import read_record
from tunefront.search.run.events import Event, ReferenceLeftOut
from tunefront.search.run.search import RunResult
from tunefront.spaces import ExperimentError

EXPERIMENT = """
name: generation
workload:
  task: text-generation
  model: {folder}/model
  data: {folder}/prompts.jsonl
  load: {{concurrency: 2, input_tokens: 6, output_tokens: 4}}
  slo: {{ttft_ms: 60000}}
space:
  runtime: [torch, transformers, onnxruntime-genai]
  max_batch: [1, 2]
  batch_size: [1, 8]
  attention_implementation: [sdpa, eager]
baseline: {{runtime: transformers, max_batch: 1, batch_size: 1, attention_implementation: sdpa}}
objectives: {{output_tokens_per_second: maximize, ttft_ms: minimize, kl_divergence: minimize}}
limits: {{quality_drop: "<= 5%"}}
budget: {{trials: 3}}
sampler: grid
measurement: {{seconds: 0.05, turns: 3, wait: 0}}
confirmation: {{finalists: 1, rounds: 1}}
"""
MEASURED = {
    "output_tokens_per_second",
    "ttft_ms",
    "tpot_ms",
    "goodput",
    "perplexity",
    "kl_divergence",
    "token_agreement",
    "exact_match",
    "peak_memory_mb",
}


@pytest.fixture(scope="module")
def experiment(chat_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("generation") / "experiment.yaml"
    file.write_text(EXPERIMENT.format(folder=chat_folder))
    return file


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """What the search reports."""
    return []


@pytest.fixture(scope="module")
def done(experiment: Path, events: list[Event]) -> RunResult:
    """The search, run once."""
    return run_search(experiment, on_event=events.append)


def tunefront(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_what_cannot_run_is_left_out_with_the_reason(experiment: Path) -> None:
    found = tunefront("run", experiment, "--dry-run")
    assert found.exit_code == 0, found.output
    assert "torch has the interface tensors, but task text-generation needs" in found.output
    assert "batch_size applies to the interface tensors" in found.output
    lines = [line for line in found.output.splitlines() if line.startswith("default of ")]
    assert lines[0].startswith("default of transformers: runtime=transformers")
    assert "max_batch=2" in lines[0]
    assert lines[1].startswith("default of onnxruntime-genai: left out: its quantization_bits is 4")


def test_trials_have_speed_quality_and_texts(done: RunResult) -> None:
    assert len(done.result.trials) == 3
    for trial in done.result.trials:
        found = trial.evaluation
        assert found is not None and found.status == "ok", found and found.message
        assert found.measurements.keys() >= MEASURED
        assert found.measurements["kl_divergence"].value == pytest.approx(0, abs=1e-5)
        assert found.measurements["token_agreement"].value == 1.0
        assert found.facts["runtime"] == "transformers" and found.facts["kv_cache_bits"] == 16


def test_the_engines_default_is_a_trial_and_confirmed(done: RunResult, events: list[Event]) -> None:
    left_out = [event for event in events if isinstance(event, ReferenceLeftOut)]
    assert [event.name for event in left_out] == ["default of onnxruntime-genai"]
    view = done.result.views[1]
    assert view.reference == view.trial.reason == "default of transformers"
    assert view.trial.configuration["max_batch"] == 2
    assert view.number in done.result.confirmation.rounds
    assert "fastest default" in done.result.headline()
    known = read_record(done.result.experiment)["workload"]["memory"]
    assert known["parameters"] > 50_000 and (known["tokens"], known["sequences"]) == (10, 2)


def test_responses_are_compared(done: RunResult, experiment: Path) -> None:
    found = tunefront("compare", experiment, "0", "1")
    assert found.exit_code == 0, found.output
    assert "1 of 12: item" in found.output and "expected" in found.output


def test_choices_are_read_back(done: RunResult) -> None:
    for trial in done.result.trials:
        assert trial.evaluation is not None
        for name in ("max_batch", "attention_implementation"):
            assert trial.evaluation.facts[name] == trial.configuration[name]


def test_mlflow_and_the_report_have_it(done: RunResult) -> None:
    import mlflow

    from tunefront.search.tracking.store import tracking_uri

    client = mlflow.MlflowClient(tracking_uri=tracking_uri(done.result.experiment))
    found = client.get_experiment_by_name("generation")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert sum({"ttft_ms", "perplexity"} <= run.data.metrics.keys() for run in runs) >= 3
    assert sum("default of transformers" in run.data.tags.get("role", "") for run in runs) == 1
    assert "kl_divergence" in (done.folder / "report.html").read_text()


@pytest.fixture(scope="module")
def exported(
    done: RunResult, experiment: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """An export of trial 1, and what `tunefront export` printed."""
    folder = tmp_path_factory.mktemp("exported") / "export"
    found = tunefront("export", experiment, "1", "--output", folder)
    assert found.exit_code == 0, found.output
    return folder, found


@pytest.fixture(scope="module")
def served(exported: tuple[Path, Result]) -> Iterator[str]:
    """The address of the export's serve.py."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-I", str(exported[0] / "serve.py"), "--port", str(port)]
    log = exported[0].with_name("log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while True:
        try:
            asked(f"{address}/health")
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(60)
    assert "Traceback" not in log.read_text()


def asked(address: str, body: object | None = None) -> Any:
    headers = {"Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(address, data, headers), timeout=60) as response:
        return json.loads(response.read())


def test_an_export_is_verified_and_answers(exported: tuple[Path, Result]) -> None:
    folder, found = exported
    assert found.output.count("4 of 4 tokens are the recorded ones") == 2  # also by serve.py
    recorded = json.loads((folder / "manifest.json").read_text())["sample_values"]
    assert {"ttft_ms", "tpot_ms", "peak_memory_mb"} <= recorded.keys()
    readme = (folder / "README.md").read_text()
    assert "/v1/chat/completions" in readme and "| output_tokens_per_second |" in readme
    assert "pip install torch transformers numpy fastapi uvicorn" in readme
    for name in ("run.py", "serve.py"):
        assert "import tunefront" not in (folder / name).read_text()
        assert "from tunefront" not in (folder / name).read_text()
    assert not (folder / "connections.py").exists() and (folder / "Dockerfile").is_file()


def test_run_py_and_the_server_answer_alike(exported: tuple[Path, Result], served: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-I", exported[0] / "run.py", "the model"],
        capture_output=True,
        text=True,
        check=True,
    )
    messages = [{"role": "user", "content": "the model"}]
    whole = asked(f"{served}/v1/chat/completions", {"messages": messages})
    assert ran.stdout.strip()
    assert ran.stdout == whole["choices"][0]["message"]["content"] + "\n"
    assert whole["model"] == "generation"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("Host", "evil.example", 421), ("Content-Type", "text/plain", 415)],
)
def test_the_server_has_the_protections_of_other_exports(
    served: str, name: str, value: str, status: int
) -> None:
    headers = {"Content-Type": "application/json", name: value}
    request = Request(f"{served}/v1/completions", b'{"prompt": "the"}', headers)
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=60)
    refused.value.close()
    assert refused.value.code == status


def test_our_client_finds_the_tokens_of_the_engine(
    exported: tuple[Path, Result], served: str
) -> None:
    """Ours against ours: token by token, counted by both, and in words."""
    engine = cast(GenerationEndpoint, open_candidate(exported[0]))
    sample = json.loads((exported[0] / "sample.json").read_text())
    prompt = tuple(sample["prompt"])
    requests = [GenerationRequest(prompt=prompt[n:], new_tokens=9 + n) for n in range(4)]
    expected = [one.tokens for one in generate(engine, requests, Load(concurrency=4))]
    spec = ServerSpec(url=served, api="completions", prompts="tokens")
    client = ServerEndpoint(served, spec, Tokenizer(exported[0] / "processor"), None, {})
    found = generate(client, requests, Load(concurrency=4))
    assert [one.tokens for one in found] == expected
    natural = replace(requests[0], new_tokens=50, stop=(2,))
    assert generate(client, [natural])[0].tokens == generate(engine, [natural])[0].tokens
    number = client.submit(replace(natural, stop=()))
    client.poll(30.0)
    client.cancel(number)
    client.close()
    engine.close()
    deadline = time.monotonic() + 60
    while asked(f"{served}/health")["open"]:
        assert time.monotonic() < deadline, "the cancelled request is still running"
        time.sleep(0.05)


def test_exact_match_needs_answers(experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("the model\n\na line of code\n")
    data = f"workload.data={tmp_path / 'plain.txt'}"
    columns = "workload.columns={prompt: text}"
    with pytest.raises(ExperimentError, match="exact_match.*the data has no column 'answer'"):
        load_experiment(experiment, [data, columns, "objectives.exact_match=maximize"])
