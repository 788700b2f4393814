"""A generation engine in a process of its own, from the experiment file to a verified export."""

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tunefront.evaluators.evaluation.evaluation import Evaluation
from tunefront.evaluators.interfaces.polled.interface import PERCENTILES
from tunefront.search import run_search
from tunefront.search.cli import tunefront as cli
from tunefront.search.run.search import RunResult

TOY = Path(__file__).parent / "toy_engine" / "toy_engine.py"
EXPERIMENT = """
name: engine
extensions: [toy_engine.py]
workload:
  task: counting
  model: model
  load: {concurrency: [1, 2], output_tokens: 8}
  slo: {ttft_ms: 60000, itl_ms: 60000}
space:
  runtime: [torch, counter]
  slots: [1, 2]
baseline: {runtime: counter, slots: 1}
objectives: {output_tokens_per_second@2: maximize, ttft_ms@1: minimize}
budget: {trials: 2}
sampler: grid
measurement: {seconds: 0.05, turns: 3, wait: 0}
confirmation: {finalists: 1, rounds: 1, capacity: concurrency, capacity_seconds: 0.3}
"""
SPEED = {
    "output_tokens_per_second",
    "input_tokens_per_second",
    "requests_per_second",
    "goodput",
    *(
        f"{name}{end}_ms"
        for name in ("ttft", "tpot", "itl", "e2e_latency")
        for end in ("", "_p90", "_p99")
    ),
}
LEVELS = ("1", "2")
TunefrontCall = Callable[..., Result]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment beside a copy of the toy and its model."""
    folder = tmp_path_factory.mktemp("engine")
    shutil.copyfile(TOY, folder / TOY.name)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text('{"step": 3, "size": 100}')
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT)
    return file


@pytest.fixture(scope="module")
def done(experiment: Path) -> RunResult:
    """The search, run once."""
    return run_search(experiment)


def tunefront(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def evaluations(done: RunResult) -> list[Evaluation]:
    found = [trial.evaluation for trial in done.result.trials]
    assert all(one is not None and one.status == "ok" for one in found), [
        one and one.message for one in found
    ]
    return [one for one in found if one is not None]


def test_the_conformance_suites_run_over_it(experiment: Path) -> None:
    found = tunefront("doctor", experiment, "--check")
    assert found.exit_code == 0, found.output
    subjects = {line[4:].partition(":")[0] for line in found.output.splitlines()}
    assert subjects == {"choice slots", "runtime counter (fp32 16)", "workload counting"}


def test_a_runtime_without_the_interface_is_left_out_with_the_reason(experiment: Path) -> None:
    found = tunefront("run", experiment, "--dry-run")
    assert found.exit_code == 0, found.output
    assert "torch has the interface tensors, but task counting needs generation" in found.output


def test_streams_of_tokens_are_timed(done: RunResult) -> None:
    for found in evaluations(done):
        assert found.measurements.keys() >= {"right_tokens", "peak_memory_mb"}
        assert "throughput" not in found.measurements
        assert found.measurements["right_tokens"].value == 1.0
    for found, level in product(evaluations(done), LEVELS):
        speed = {name: found.measurements[f"{name}@{level}"].value for name in SPEED}
        # A token takes at least half a millisecond in the engine. On a busy machine several arrive
        # at once, so the time between them has no such bound.
        assert 0 < speed["output_tokens_per_second"] < 2000
        assert speed["ttft_ms"] > 0.5
        assert speed["tpot_ms"] >= 0
        assert speed["e2e_latency_ms"] >= speed["ttft_ms"]
        assert speed["requests_per_second"] * 8 == pytest.approx(speed["output_tokens_per_second"])
        assert speed["goodput"] == speed["requests_per_second"]  # no limit was broken


def test_distributions_of_requests_are_recorded_at_every_level(done: RunResult) -> None:
    for found in evaluations(done):
        names = {f"{name}@{level}" for name in ("ttft_ms", "itl_ms") for level in LEVELS}
        assert found.distributions.keys() == names
        for name in names:
            values = [value for _, value in found.distributions[name]]
            assert values == sorted(values)


def test_every_level_has_its_ratio_to_the_baseline(done: RunResult) -> None:
    first, second = evaluations(done)
    assert (first.relative, dict(first.relative_at)) == (None, {})
    assert list(second.relative_at) == list(LEVELS)
    assert second.relative == second.relative_at["2"]
    for rounds in done.result.confirmation.rounds.values():  # of those that are on the front
        assert all(list(one.ratios_at) == list(LEVELS) for one in rounds)


def test_the_finalists_have_a_capacity(done: RunResult, experiment: Path) -> None:
    """The limits of a minute are kept by as many requests as were probed, on any machine."""
    confirmation = done.result.confirmation
    assert 0 in confirmation.capacities
    for number, found in confirmation.capacities.items():
        trial = done.result.trials[number]
        assert found.problem == "" and len(found.probes) >= 3
        capacity = trial.measurements["capacity"]
        assert capacity.unit == "requests in progress"
        assert capacity.value == max(one.probe.level for one in found.probes)
        assert capacity.high == float("inf")
    shown = tunefront("show", experiment, "0")
    assert "capacity: " in shown.output and " requests in progress (at least" in shown.output
    sized = tunefront("show", experiment, "0", "--rate", "50")
    assert "--rate needs the capacity in requests/s" in str(sized.exception)
    assert "--rate needs TRIAL" in tunefront("show", experiment, "--rate", "50").output


def test_choices_are_read_back_from_the_engine(done: RunResult) -> None:
    assert [found.facts["slots"] for found in evaluations(done)] == [1, 2]


def test_the_memory_of_the_engine_s_process_is_measured(done: RunResult) -> None:
    """The engine is a second Python: more than the process that sends the requests."""
    for found in evaluations(done):
        assert found.measurements["model_memory_mb"].value > 5


def test_mlflow_and_the_report_have_it(done: RunResult) -> None:
    import mlflow

    from tunefront.search.tracking.store import tracking_uri

    client = mlflow.MlflowClient(tracking_uri=tracking_uri(done.result.experiment))
    found = client.get_experiment_by_name("engine")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    measured = [run for run in runs if "ttft_ms at 1" in run.data.metrics]
    assert len(measured) >= 2
    ordered = client.search_runs([found.experiment_id], order_by=["metrics.`ttft_ms at 1` DESC"])
    assert ordered[0].data.metrics["ttft_ms at 1"] >= ordered[1].data.metrics["ttft_ms at 1"]
    for run in measured:
        history = client.get_metric_history(run.info.run_id, "load/ttft_ms")
        shown = [(one.step, one.value) for one in history]
        assert shown == [(n, run.data.metrics[f"ttft_ms at {n}"]) for n in (1, 2)]
        history = client.get_metric_history(run.info.run_id, "distribution/ttft_ms at 2")
        assert [one.step for one in history] == list(PERCENTILES)
    assert "output_tokens_per_second@2" in (done.folder / "report.html").read_text()


def test_an_export_is_verified_and_runs_alone(
    done: RunResult, experiment: Path, tmp_path: Path
) -> None:
    import subprocess
    import sys

    folder = tmp_path / "export"
    found = tunefront("export", experiment, "1", "--output", folder)
    assert found.exit_code == 0, found.output
    assert "8 of 8 tokens are the recorded ones" in found.output
    readme = (folder / "README.md").read_text()
    assert "There is no `serve.py`: it has no tokenizer, which requests with texts need." in readme
    ran = subprocess.run(
        [sys.executable, "-I", folder / "run.py"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "8 tokens | as recorded\n"
    sample = json.loads((folder / "sample.json").read_text())
    sample["tokens"][0] += 1
    (folder / "sample.json").write_text(json.dumps(sample))
    assert "sample.json has changed" in tunefront("verify", folder).output
