"""The contract of trackers, for every implementation; and the files that a tracker stores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from tunefront.search import Experiment, Result, result_of
from tunefront.search.report.artifacts import write_artifacts
from tunefront.search.tracking.base import Tracker
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.store import tracking_uri
from tunefront.search.tracking.writer import write_result
from tunefront.spaces import Hardware

from .conftest import answered, made_up

FILES = ["experiment.yaml", "front.png", "report.html", "search.json", "trials.csv", "trials.json"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, laptop: Hardware) -> Result:
    return answered(made_up(tmp_path_factory.mktemp("search"), 14, laptop), 14)


@pytest.fixture(params=[Projection])
def new(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tracker]:
    """Return a function that opens the tracker of an experiment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    opened: Callable[[Experiment, str], Tracker] = request.param
    return lambda experiment: opened(experiment, "search")


def test_a_tracker_writes_everything_once(
    result: Result, new: Callable[..., Tracker], tmp_path: Path
) -> None:
    ended = result.trials[:3]
    tracker = new(replace(result.experiment, name="written once"))
    link = tracker.link(result)
    assert [tracker.write_trial(trial, result) for trial in ended] == [True, True, True]
    assert [tracker.write_trial(trial, result) for trial in ended] == [False, False, False]
    assert tracker.write_result(result, tmp_path) == link
    again = new(replace(result.experiment, name="written once"))
    assert [again.write_trial(trial, result) for trial in ended] == [False, False, False]
    assert again.write_result(result, tmp_path) == link
    assert again.obstacle == tracker.obstacle == ""


def test_the_files_of_a_result_are_stored_with_it(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    projection = Projection(replace(result.experiment, name="with files"), "search")
    write_result(projection, result)
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(result.experiment))
    (summary,) = client.search_runs([projection.experiment_id])
    assert [file.path for file in client.list_artifacts(summary.info.run_id)] == FILES


def test_without_measured_trials_there_is_no_picture(result: Result, tmp_path: Path) -> None:
    failed = [trial for trial in result.trials if not trial.measured]
    nothing = result_of(result.experiment, failed, result.confirmation)
    write_artifacts(nothing, {}, tmp_path / "made")
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == [
        name for name in FILES if name != "front.png"
    ]
