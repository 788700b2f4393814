"""A server that a command starts: from the experiment file to a verified export that answers."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from tunefront.search import run_search
from tunefront.search.cli import tunefront as cli
from tunefront.search.run.search import RunResult

MARK = "987654"
"""A value of a flag by which the servers of this file are known."""
PROGRAM = Path(__file__).parents[1] / "evaluators" / "runtimes" / "server" / "tiny_server.py"
EXPERIMENT = """
name: served
workload:
  task: text-generation
  model: {folder}/model
  data: {folder}/prompts.jsonl
  load: {{concurrency: 2, input_tokens: 6, output_tokens: 4}}
  server:
    command: >-
      {python} {program} --model {{model}} --port {{port}} --token-ids
      --crash-after {mark}
      --max-num-seqs {{max_num_seqs}} --kv-cache-dtype {{kv}}
space:
  max_num_seqs: {{values: [1, 2], changes_outputs: false}}
  kv: [auto, fp8]
baseline: {{max_num_seqs: 1, kv: auto}}
objectives: {{output_tokens_per_second: maximize, ttft_ms: minimize, token_agreement: maximize}}
budget: {{trials: 4}}
sampler: grid
measurement: {{seconds: 0.05, turns: 3, wait: 0}}
confirmation: {{finalists: 1, rounds: 1}}
"""
MEASURED = {"output_tokens_per_second", "ttft_ms", "token_agreement", "exact_match"}


@pytest.fixture(scope="module")
def experiment(chat_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("served") / "experiment.yaml"
    file.write_text(
        EXPERIMENT.format(folder=chat_folder, python=sys.executable, program=PROGRAM, mark=MARK)
    )
    return file


@pytest.fixture(scope="module")
def done(experiment: Path) -> RunResult:
    """The search, run once."""
    return run_search(experiment)


def tunefront(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def servers() -> list[int]:
    found = (p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"])
    return [p.pid for p in found if MARK in p.info["cmdline"]]


def ran_by(folder: Path, *arguments: str) -> str:
    """What run.py of an export prints."""
    command = [sys.executable, "-I", str(folder / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_trials_have_the_values_of_the_command(done: RunResult) -> None:
    assert len(done.result.trials) == 4
    for trial in done.result.trials:
        found = trial.evaluation
        assert found is not None and found.status == "ok", found and found.message
        assert found.measurements.keys() >= {*MEASURED, "peak_memory_mb"}
        assert found.facts["runtime"] == "server"
        for name in ("max_num_seqs", "kv"):
            assert found.facts[name] == trial.configuration[name]
        agreement = found.measurements["token_agreement"].value
        assert (agreement == 1.0) == (trial.configuration["kv"] == "auto")


def test_memory_is_that_of_the_server(done: RunResult) -> None:
    """numpy and the tiny model, not the process that sends the requests, which holds torch."""
    for trial in done.result.trials:
        assert trial.evaluation is not None
        assert 20 < trial.evaluation.measurements["peak_memory_mb"].value < 150


def test_nothing_runs_after_the_search(done: RunResult) -> None:
    assert servers() == []


def test_responses_are_compared(done: RunResult, experiment: Path) -> None:
    found = tunefront("compare", experiment, "0", "1")
    assert found.exit_code == 0, found.output
    assert "1 of 12: item" in found.output and "expected" in found.output


def test_mlflow_and_the_report_have_it(done: RunResult) -> None:
    import mlflow

    from tunefront.search.tracking.store import tracking_uri

    client = mlflow.MlflowClient(tracking_uri=tracking_uri(done.result.experiment))
    found = client.get_experiment_by_name("served")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert sum({"ttft_ms", "token_agreement"} <= run.data.metrics.keys() for run in runs) >= 4
    assert "max_num_seqs" in (done.folder / "report.html").read_text()


def test_an_export_is_verified_answers_and_serves(
    done: RunResult, experiment: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    found = tunefront("export", experiment, "1", "--output", folder)
    assert found.exit_code == 0, found.output
    assert "4 of 4 tokens are the recorded ones" in found.output
    assert ran_by(folder) == "4 tokens | as recorded\n"
    assert ran_by(folder, "the model").strip()
    command = (folder / "serve.sh").read_text()
    assert '--port "$PORT"' in command and '--model "$HERE/model"' in command
    assert "--max-num-seqs 2 --kv-cache-dtype auto" in command
    readme = (folder / "README.md").read_text()
    assert f"`run.py` needs the program `{sys.executable}` and nothing else" in readme
    assert "`sh serve.sh PORT` starts the measured server itself" in readme
    assert not os.path.islink(folder / "model" / "model.safetensors")
    assert servers() == []
