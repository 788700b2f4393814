"""Writing to MLflow on sqlite: killed at every step, written twice, written late."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tunefront.evaluators import Evaluation, InterimResult, Measurement
from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.profile.advice import tried_of
from tunefront.search.sampling.early_stopping.reliability import reliability_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import Study
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.store import tracking_uri
from tunefront.search.tracking.writer import write_result
from tunefront.spaces import Configuration

KILLED = """
import importlib, os, signal, sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tunefront.search import load_experiment
from tunefront.search.report.artifacts import write_artifacts
from tunefront.search.results.metadata import recorded_result
from tunefront.search.tracking import projection

class Dying:
    '''MLflow's client, in a process that is killed after so many of its calls.'''

    def __init__(self, client, calls):
        self.client, self.left = client, calls

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*arguments, **named):
            found = method(*arguments, **named)
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return call

def project(calls):
    connect = projection.connect
    projection.connect = lambda experiment: Dying(connect(experiment), calls)
    named = replace(experiment, name=f"killed after {calls} calls")
    written = projection.Projection(named, "search")
    written.write_trials(result.trials, result)
    written.write_result(result, files)

experiment = load_experiment(sys.argv[1])
result = recorded_result(experiment)
loaded, files = (Path(sys.argv[1]).with_name(name) for name in ("modules", "files"))
write_artifacts(result, {}, files)  # before the first call, and once for all
if not os.fork():  # learn what is imported, so that the processes below need not import it
    project(0)
    loaded.write_text("\\n".join(sys.modules))
    os._exit(0)
assert os.wait()[1] == 0
for name in loaded.read_text().splitlines():
    with suppress(Exception):
        importlib.import_module(name)
calls, status = 0, None
while status != 0:
    calls += 1
    child = os.fork()
    if not child:
        project(calls)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
print(calls)
"""


@pytest.fixture
def experiment(load: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return load()


@pytest.fixture
def result(
    experiment: Experiment,
    evaluation: Callable[..., Evaluation],
    failure: Callable[..., Evaluation],
) -> Result:
    """The baseline, a failure, and a trial under way, recorded."""
    study = Study.open(experiment, {"test": "yes"})
    for threads, ended in ((1, evaluation()), (2, failure())):
        configuration = Configuration({**experiment.baseline, "threads": threads})
        study.tell(study.ask(configuration), ended)
    study.ask(Configuration({**experiment.baseline, "batch_size": 8}))
    return result_of(experiment, study.trials(), Confirmation(rounds={}))


@pytest.fixture
def client(experiment: Experiment) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{experiment.results.parent}/mlflow.db")


def runs_of(client: mlflow.MlflowClient, projection: Projection) -> list[Any]:
    return list(client.search_runs([projection.experiment_id]))


def written(result: Result, name: str = "", files: Path | None = None) -> Projection:
    """The result, written in full, with files that are there already."""
    experiment = replace(result.experiment, name=name or result.experiment.name)
    projection = Projection(experiment, "search")
    projection.write_trials(result.trials, result)
    if files is None:
        write_result(projection, result)
    else:
        projection.write_result(result, files)
    return projection


def check_whole(runs: list[Any], result: Result) -> None:
    """Every trial that has ended has one run, and that has everything."""
    assert sorted(run.data.tags["trial"] for run in runs) == ["0", "1", "summary"]
    by_trial = {run.data.tags["trial"]: run for run in runs}
    for number, status in ((0, "FINISHED"), (1, "FAILED")):
        run, trial = by_trial[str(number)], result.trials[number]
        assert run.info.status == status
        assert run.data.params == {n: str(v) for n, v in trial.configuration.items()}
        assert run.data.tags["status"] == trial.status
        assert run.data.metrics["choice/threads"] == number + 1
    assert by_trial["0"].data.metrics["throughput"] == 100.0
    assert by_trial["summary"].info.status == "FINISHED"


def test_a_projection_that_is_killed_anywhere_is_completed_by_the_next(
    result: Result, client: mlflow.MlflowClient
) -> None:
    path = result.experiment.path
    done = subprocess.run(
        [sys.executable, "-c", KILLED, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    calls = int(done.stdout)
    assert calls > 15, "a trial takes three calls, the summary more"
    for killed_after in range(1, calls):
        name = f"killed after {killed_after} calls"
        projection = written(result, name, files=path.with_name("files"))
        check_whole(runs_of(client, projection), result)


def test_what_is_there_already_is_not_written_again(
    result: Result, client: mlflow.MlflowClient
) -> None:
    first = written(result)
    before = {run.info.run_id: run.to_dictionary() for run in runs_of(client, first)}
    again = Projection(result.experiment, "search")
    assert again.write_trials(result.trials, result) == 0
    assert {run.info.run_id: run.to_dictionary() for run in runs_of(client, first)} == before


def test_a_run_whose_creation_was_not_acknowledged_is_adopted(
    result: Result, client: mlflow.MlflowClient
) -> None:
    projection = Projection(result.experiment, "search")
    lost = client.create_run(projection.experiment_id, tags={"tunefront.trial": "0"})
    runs = runs_of(client, written(result))
    check_whole(runs, result)
    assert lost.info.run_id in {run.info.run_id for run in runs}


def test_a_run_that_comes_too_late_is_deleted(result: Result, client: mlflow.MlflowClient) -> None:
    projection = Projection(result.experiment, "search")
    projection.write_trials(result.trials, result)
    late = client.create_run(projection.experiment_id, tags={"tunefront.trial": "1"})
    write_result(projection, result)
    runs = runs_of(client, projection)
    check_whole(runs, result)
    assert late.info.run_id not in {run.info.run_id for run in runs}


def test_of_two_runs_of_one_trial_the_whole_one_stays(
    result: Result, client: mlflow.MlflowClient
) -> None:
    projection = written(result)
    whole = {run.info.run_id for run in runs_of(client, projection)}
    for number in ("0", "1"):
        client.create_run(projection.experiment_id, tags={"trial": number})
    runs = runs_of(client, written(result))
    check_whole(runs, result)
    assert {run.info.run_id for run in runs} == whole


def test_a_trial_that_is_no_longer_a_pick_loses_the_name(
    result: Result, client: mlflow.MlflowClient, trial: Callable[..., Trial]
) -> None:
    projection = Projection(result.experiment, "search")
    figures = {"peak_memory_mb": 500.0, "perplexity": 10.0, "quality_drop": 0.0}
    base = trial(0, throughput=100.0, **figures)

    def picks(*trials: Trial) -> list[str]:
        found = result_of(result.experiment, [base, *trials], Confirmation(rounds={}))
        projection.write_trials(found.trials, found)
        runs = client.search_runs([projection.experiment_id], "tags.picks != ''")
        return sorted(run.data.tags["trial"] for run in runs)

    slow, fast = trial(1, throughput=200.0, **figures), trial(2, throughput=300.0, **figures)
    assert picks(slow) == ["1"]
    assert picks(slow, fast) == ["2"]


def test_values_that_are_not_finite_are_left_out(
    result: Result, client: mlflow.MlflowClient, trial: Callable[..., Trial]
) -> None:
    projection = Projection(result.experiment, "search")
    figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0}
    odd = trial(0, latency_ms=float("inf"), quality_drop=0.0, **figures)
    found = result_of(result.experiment, [odd], Confirmation(rounds={}))
    projection.write_trials([odd], found)
    (run,) = runs_of(client, projection)
    assert "latency_ms" not in run.data.metrics
    assert Projection(result.experiment, "search").write_trials([odd], found) == 0


def test_a_search_without_throughput_and_memory_is_written_whole(
    load: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs, note, views, files and report; ratios of missing figures are left out."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    experiment = load("objectives={perplexity: minimize, agreement: maximize}", "limits={}")
    study = Study.open(experiment, {"test": "yes"})
    for threads, perplexity in ((1, 10.0), (2, 9.0)):
        configuration = Configuration({**experiment.baseline, "threads": threads})
        figures = {
            name: Measurement.exact(value, "")
            for name, value in (("perplexity", perplexity), ("agreement", 0.9))
        }
        ended = Evaluation(
            status="ok",
            measurements=figures,
            items=((1.0,), (1.0,)),
            relative=Measurement.exact(2.0, "x"),
            interim=InterimResult(speed=None),
        )
        study.tell(study.ask(configuration), ended)
    result = result_of(experiment, Study.read(experiment).trials(), Confirmation())
    assert result.trials[1].measured, result.trials[1]
    written = Projection(experiment, "search")
    written.write_trials(result.trials, result)
    write_result(written, result)
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(experiment))
    found = client.get_experiment_by_name(experiment.name)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    own = next(run for run in runs if run.data.params.get("threads") == "2")
    assert own.data.metrics["perplexity"] == 9.0
    assert not {"speedup_x", "memory_saving_x", "throughput"} & set(own.data.metrics)
    assert result.headline().startswith("001 ")
    assert "faster" not in result.headline()
    assert "throughput" not in result.view(result.trials[1]).sentence
    assert reliability_of(result.trials, experiment.objectives).trials == 0
    assert (
        tried_of(
            result.trials, experiment.rate, 1, result.trials[0].complete, {"threads": 2}
        ).speedup
        is None
    )
