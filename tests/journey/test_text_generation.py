"""Text generation by `transformers`: from the experiment file to a verified export that answers."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tunefront.search import load_experiment, run_search
from tunefront.search.cli import tunefront as cli
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
  runtime: [torch, transformers]
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
def done(experiment: Path) -> RunResult:
    """The search, run once."""
    return run_search(experiment)


def tunefront(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_what_cannot_run_is_left_out_with_the_reason(experiment: Path) -> None:
    found = tunefront("run", experiment, "--dry-run")
    assert found.exit_code == 0, found.output
    assert "torch has the interface tensors, but task text-generation needs" in found.output
    assert "batch_size applies to the interface tensors" in found.output


def test_trials_have_speed_quality_and_texts(done: RunResult) -> None:
    assert len(done.result.trials) == 3
    for trial in done.result.trials:
        found = trial.evaluation
        assert found is not None and found.status == "ok", found and found.message
        assert found.measurements.keys() >= MEASURED
        assert found.measurements["kl_divergence"].value == pytest.approx(0, abs=1e-5)
        assert found.measurements["token_agreement"].value == 1.0
        assert found.facts["runtime"] == "transformers" and found.facts["kv_cache_bits"] == 16


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
    assert "kl_divergence" in (done.folder / "report.html").read_text()


def test_an_export_is_verified_and_answers(
    done: RunResult, experiment: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    found = tunefront("export", experiment, "1", "--output", folder)
    assert found.exit_code == 0, found.output
    assert "4 of 4 tokens are the recorded ones" in found.output
    ran = subprocess.run(
        [sys.executable, "-I", folder / "run.py", "the model"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip()


def test_exact_match_needs_answers(experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("the model\n\na line of code\n")
    data = f"workload.data={tmp_path / 'plain.txt'}"
    columns = "workload.columns={prompt: text}"
    with pytest.raises(ExperimentError, match="exact_match.*the data has no column 'answer'"):
        load_experiment(experiment, [data, columns, "objectives.exact_match=maximize"])
