"""A service over HTTP: from the experiment file to a verified export that is called."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from tunefront.evaluators.interfaces.http import Http
from tunefront.search import run_search
from tunefront.search.cli import tunefront as cli
from tunefront.search.run.search import RunResult

MARK = "456123"
"""A value of a flag by which the servers of this file are known."""
PROGRAM = Path(__file__).parents[1] / "evaluators" / "runtimes" / "server" / "tiny_service.py"
EXPERIMENT = """
name: called
workload:
  task: http
  server:
    command: >-
      {python} {{folder}}/service.py --port {{port}} --mark {mark}
      --workers {{workers}} --rounding {{rounding}}
  request:
    path: /v1/embeddings
    body: {{input: "{{text}}", dimensions: "{{dims}}"}}
  response: data.0.embedding
  data: rows.jsonl
  load: {{concurrency: 2}}
  slo: {{e2e_latency_ms: 2000}}
space:
  workers: {{values: [1, 2], changes_outputs: false}}
  rounding: [none, coarse]
baseline: {{workers: 1, rounding: none}}
objectives:
  requests_per_second: maximize
  e2e_latency_ms: minimize
  response_agreement: maximize
limits: {{quality_drop: "<= 50%"}}
budget: {{trials: 4}}
sampler: grid
measurement: {{seconds: 0.05, turns: 3, wait: 0}}
confirmation: {{finalists: 1, rounds: 1, capacity: concurrency, capacity_seconds: 0.2}}
"""
MEASURED = {
    *("e2e_latency_ms", "e2e_latency_p90_ms", "e2e_latency_p99_ms"),
    *("requests_per_second", "goodput", "response_agreement", "peak_memory_mb"),
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("called")
    (folder / "service.py").write_text(PROGRAM.read_text())
    rows = [{"text": f"text {number}", "dims": 6} for number in range(16)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "experiment.yaml").write_text(EXPERIMENT.format(python=sys.executable, mark=MARK))
    return folder / "experiment.yaml"


@pytest.fixture(scope="module")
def done(experiment: Path) -> RunResult:
    """The search, run once."""
    return run_search(experiment)


def tunefront(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def servers() -> list[int]:
    found = (p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"])
    return [p.pid for p in found if MARK in p.info["cmdline"]]


def test_trials_have_the_values_of_the_command(done: RunResult) -> None:
    assert len(done.result.trials) == 4
    for trial in done.result.trials:
        found = trial.evaluation
        assert found is not None and found.status == "ok", found and found.message
        assert found.measurements.keys() >= MEASURED
        assert not [name for name in found.measurements if "token" in name or "tpot" in name]
        for name in ("workers", "rounding"):
            assert found.facts[name] == trial.configuration[name]
        agreement = found.measurements["response_agreement"].value
        assert 0.5 < agreement <= 1.0
        assert (agreement == 1.0) == (trial.configuration["rounding"] == "none")
        assert trial.measurements["requests_per_second"].unit == "requests/s"
    assert servers() == []


def test_the_capacity_of_finalists_is_measured(done: RunResult) -> None:
    found = done.result.confirmation.capacities
    assert found and not [one.problem for one in found.values() if one.problem]


def test_responses_are_compared(done: RunResult, experiment: Path) -> None:
    found = tunefront("compare", experiment, "0", "1")
    assert found.exit_code == 0, found.output
    assert "text: text" in found.output and "(6 numbers)" in found.output


def test_mlflow_and_the_report_have_it(done: RunResult) -> None:
    import mlflow

    from tunefront.search.tracking.store import tracking_uri

    client = mlflow.MlflowClient(tracking_uri=tracking_uri(done.result.experiment))
    found = client.get_experiment_by_name("called")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    names = {"e2e_latency_ms", "requests_per_second", "response_agreement"}
    assert sum(names <= run.data.metrics.keys() for run in runs) >= 4
    report = (done.folder / "report.html").read_text()
    assert "http, POST /v1/embeddings" in report and "response_agreement" in report


def test_an_export_is_verified_and_called(
    done: RunResult, experiment: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    found = tunefront("export", experiment, "1", "--output", folder)
    assert found.exit_code == 0, found.output
    assert "largest difference 0" in found.output
    command = [sys.executable, "-I", str(folder / "run.py")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "POST /v1/embeddings | as recorded\n"
    usage = Http.usage.replace("path/to/this/folder", str(folder)) + "print(response.value)"
    code = "import sys; sys.path[:0] = sys.argv[1:]\n" + usage
    paths = [path for path in sys.path if path]
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert len(json.loads(ran.stdout)) == 6
    started = (folder / "serve.sh").read_text()
    assert '--port "$PORT"' in started and "--rounding" in started
    readme = (folder / "README.md").read_text()
    assert "`sh serve.sh PORT` starts the measured server itself" in readme
    assert servers() == []
