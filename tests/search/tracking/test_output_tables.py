"""Answers in MLflow's view of artifacts: tables that MLflow itself reads, written once."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import mlflow
import pytest

from tunefront.evaluators import Evaluation, Sample
from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import Study
from tunefront.search.tracking.output_tables import LOGGED, logged_with
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.writer import write_result
from tunefront.spaces import Configuration

ITEMS = 12


@pytest.fixture
def experiment(load: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return load()


def result_with(experiment: Experiment, evaluations: list[Evaluation]) -> Result:
    """Return the result of a search whose trials ended like this."""
    study = Study.open(experiment, {"test": "yes"})
    for threads, ended in enumerate(evaluations, start=1):
        configuration = Configuration({**experiment.baseline, "threads": threads})
        study.tell(study.ask(configuration), ended)
    return result_of(experiment, study.trials(), Confirmation(rounds={}))


def answering(ended: Evaluation, words: str) -> Evaluation:
    samples = [Sample(item=i, input=f"text {i}", output=f"{words} {i}") for i in range(ITEMS)]
    return replace(ended, outputs=tuple(samples), items=((2.0,) * ITEMS, (1.0,) * ITEMS))


@pytest.fixture
def result(experiment: Experiment, evaluation: Callable[..., Evaluation]) -> Result:
    """The baseline, a trial on the front, and one that is dominated."""
    fast, slow = evaluation(throughput=900.0), evaluation(throughput=1.0, peak_memory_mb=900.0)
    found = [(evaluation(), "base"), (fast, "fast"), (slow, "slow")]
    return result_with(experiment, [answering(*one) for one in found])


def project(result: Result) -> Projection:
    projection = Projection(result.experiment, "search")
    projection.write_trials(result.trials, result)
    write_result(projection, result)
    return projection


def store_of(experiment: Experiment) -> str:
    return f"sqlite:///{experiment.results.parent}/mlflow.db"


def client_of(experiment: Experiment) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=store_of(experiment))


def table_of(projection: Projection, trial: Trial) -> list[dict[Any, Any]]:
    """The rows of a trial's table, as MLflow itself finds and reads them."""
    run_id = projection.run_id(trial)
    assert run_id is not None
    with mlflow_at(store_of(projection.experiment)):
        client = mlflow.MlflowClient()
        table = client.load_table(projection.experiment_id, "samples.json", run_ids=[run_id])
    rows: list[dict[Any, Any]] = table.to_dict("records")
    return rows


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """MLflow's own functions on a store; they know it by a variable of the process."""
    before, variable = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
        if variable is None:
            del os.environ["MLFLOW_TRACKING_URI"]


def runs_of(projection: Projection) -> list[Any]:
    return list(client_of(projection.experiment).search_runs([projection.experiment_id]))


def test_mlflow_reads_the_outputs_of_the_shortlist_each_once(result: Result) -> None:
    assert [trial.number for trial in result.front.trials] == [1]
    project(result)
    projection = project(result)
    base = table_of(projection, result.trials[0])
    assert [row["output"] for row in base] == [f"base {i}" for i in range(ITEMS)]
    assert list(base[0]) == ["input", "output", "expected", "right", "perplexity"]
    assert {row["perplexity"] for row in base} == {7.389}
    assert len(table_of(projection, result.trials[1])) == ITEMS
    tags = {run.data.tags["trial"]: run.data.tags for run in runs_of(projection)}
    assert {number for number, found in tags.items() if LOGGED in found} == {"0", "1"}


def test_a_table_whose_tag_was_not_written_any_more_is_completed(result: Result) -> None:
    projection = Projection(result.experiment, "search")
    projection.write_trials(result.trials, result)
    run_id = projection.run_id(result.trials[1])
    assert run_id is not None
    half = '{"columns": ["input"], "data": [["half"]]}'
    client_of(result.experiment).log_text(run_id, half, "samples.json")
    rows = table_of(project(result), result.trials[1])
    assert [row["output"] for row in rows] == [f"fast {i}" for i in range(ITEMS)]


def test_the_view_of_outputs_is_there_where_outputs_are(
    result: Result, load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> None:
    client = client_of(result.experiment)
    projection = project(result)
    views = projection.views(result)
    assert [view.title for view in views if view.mode == "ARTIFACT"] == ["5 Outputs side by side"]
    tags = client.get_experiment(projection.experiment_id).tags
    assert "mlflow.sharedViewState.outputs" in tags
    note = tags["mlflow.note.content"]
    assert "viewStateShareKey=outputs&compareRunsMode=ARTIFACT" in note
    silent = result_with(load(), [evaluation()])
    projection = project(silent)
    assert all(view.mode != "ARTIFACT" for view in projection.views(silent))
    silent_tags = client_of(silent.experiment).get_experiment(projection.experiment_id).tags
    assert "what the front answers" not in silent_tags["mlflow.note.content"]


def test_tables_of_others_stay_in_the_tag() -> None:
    theirs = {"path": "theirs.json", "type": "table"}
    tag = logged_with(json.dumps([theirs]))
    assert tag is not None
    assert json.loads(tag) == [theirs, {"path": "samples.json", "type": "table"}]
    assert logged_with(tag) is None
    assert LOGGED == "mlflow.loggedArtifacts"
