"""From a run in the browser back to its trial, on MLflow with sqlite."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tunefront.evaluators import Evaluation
from tunefront.evaluators.exports.folder import MANIFEST
from tunefront.evaluators.exports.registry import SHA256
from tunefront.search import Experiment, Result, result_of
from tunefront.search.commands.arguments import find
from tunefront.search.deploy.export_record import record_export
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import Study
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.runs import Runs, run_named_in
from tunefront.search.tracking.writer import write_result
from tunefront.spaces import Configuration, ExperimentError, TrackingError

RUN = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


@pytest.fixture(scope="module")
def experiment(load: Callable[..., Experiment]) -> Experiment:
    return load()


@pytest.fixture(scope="module")
def study(experiment: Experiment, evaluation: Callable[..., Evaluation]) -> Study:
    study = Study.open(experiment, {"test": "yes"})
    for threads, throughput in ((1, 100.0), (2, 200.0)):
        configuration = Configuration({**experiment.baseline, "threads": threads})
        study.tell(study.ask(configuration), evaluation(throughput=throughput))
    return study


@pytest.fixture(scope="module")
def result(experiment: Experiment, study: Study) -> Result:
    return result_of(experiment, study.trials(), Confirmation(rounds={}))


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def projection(result: Result, study: Study) -> Projection:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        written = Projection(result.experiment, study.search_id)
        written.write_trials(result.trials, result)
        write_result(written, result)
    return written


@pytest.fixture
def client(experiment: Experiment, projection: Projection) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{experiment.results.parent}/mlflow.db")


@pytest.mark.parametrize(
    ("written", "run"),
    [
        (RUN, RUN),
        (f" {RUN} ", RUN),
        (f"http://127.0.0.1:5000/#/experiments/7/runs/{RUN}", RUN),
        (f"https://host/mlflow/#/experiments/7/runs/{RUN}/artifacts/report.html?x=1", RUN),
        ("38", None),
        ("038 openvino w8 static b8 t2 with a long name", None),
        ("recommended", None),
        (f"{RUN}0", None),
        (f"m-{RUN}", None),
    ],
)
def test_a_run_is_seen_in_what_is_written(written: str, run: str | None) -> None:
    assert run_named_in(written) == run


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("http://127.0.0.1:5000/#/experiments/7", "is not the page of a run; open the run and"),
        (f"http://h/#/compare-runs?runs={RUN},{OTHER}", "names 2 runs; name one"),
    ],
)
def test_another_page_is_no_run(written: str, expected: str) -> None:
    with pytest.raises(ExperimentError, match=expected):
        run_named_in(written)


def test_a_trial_is_found_by_run_and_by_address(result: Result, projection: Projection) -> None:
    run = projection.run_id(result.trials[1])
    assert run is not None
    page = f"http://127.0.0.1:5000/#/experiments/{projection.experiment_id}/runs/{run}"
    assert find(result, run).number == find(result, page).number == 1
    assert find(result, result.trials[1].name()).number == 1
    assert find(result, result.trials[1].short_name()).number == 1
    assert Runs(result.experiment).run_of(1) == run


def test_a_run_that_is_none_of_a_trial_is_reported(
    result: Result, projection: Projection, client: mlflow.MlflowClient
) -> None:
    with pytest.raises(ExperimentError, match=rf"run {OTHER} is not in sqlite:///.*--all` lists"):
        find(result, OTHER)
    (summary,) = client.search_runs([projection.experiment_id], "tags.trial = 'summary'")
    with pytest.raises(ExperimentError, match=r"\(★ summary\) is no trial's; name a trial's run"):
        find(result, summary.info.run_id)
    elsewhere = client.create_run(client.create_experiment("another"), tags={"trial": "0"})
    with pytest.raises(ExperimentError, match=r"is of 'another', not of this search of 'Made up'"):
        find(result, elsewhere.info.run_id)


def test_mlflow_is_not_asked_where_no_run_is_named(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert find(result, "1").number == 1
    assert find(result, "baseline").number == 0
    with pytest.raises(ExperimentError, match="there are 0 to 1, and runs by their id"):
        find(result, "99")
    with pytest.raises(TrackingError, match="Connection refused"):
        find(result, RUN)


def test_a_trial_without_a_run_is_reported(result: Result, projection: Projection) -> None:
    with pytest.raises(TrackingError, match="does not hold trial 7 yet; `tunefront sync"):
        Runs(result.experiment).run_of(7)


def test_a_store_that_does_not_hold_the_search_is_reported(
    result: Result, projection: Projection, load: Callable[..., Experiment]
) -> None:
    other = load()
    Study.open(other, {"test": "yes"})
    with pytest.raises(TrackingError, match=r"mlflow.db does not exist; `tunefront sync FILE`"):
        Runs(other)
    assert not (other.results.parent / "mlflow.db").exists()
    Projection(other, "another search")
    with pytest.raises(TrackingError, match="does not hold 'Made up'; `tunefront sync"):
        Runs(other)


def test_what_a_person_tagged_is_found_and_survives_our_writing(
    result: Result, study: Study, projection: Projection, client: mlflow.MlflowClient
) -> None:
    with pytest.raises(
        ExperimentError, match=r"no run of 'Made up' is tagged pick=yes; `tunefront"
    ):
        Runs(result.experiment).tagged()
    runs = [str(projection.run_id(trial)) for trial in result.trials]
    client.set_tag(runs[0], "pick", "perhaps")
    with pytest.raises(ExperimentError, match=r"pick=yes; 000 .* has pick=perhaps; `tunefront ui"):
        Runs(result.experiment).tagged()
    client.set_tag(runs[1], "pick", " Yes")
    changed = result_of(result.experiment, result.trials[:1], Confirmation(rounds={}))
    again = Projection(result.experiment, study.search_id)
    again.write_trials(changed.trials, changed)
    again.write_trials(result.trials, result)
    write_result(again, result)
    tagged = Runs(result.experiment).tagged()
    assert list(tagged.trials) == [1]
    assert [value for _, value in tagged.others] == ["perhaps"]
    run = client.get_run(runs[1])
    assert run.data.tags["pick"] == " Yes"
    assert "recommended" in run.data.tags["picks"]


def test_the_search_s_page_says_how_to_tag(
    projection: Projection, client: mlflow.MlflowClient
) -> None:
    note = client.get_experiment(projection.experiment_id).tags["mlflow.note.content"]
    assert "add the tag `pick` with the value `yes`" in note
    assert "--picked`" in note


def test_a_run_is_tagged_with_the_digest_of_its_export(
    result: Result, projection: Projection, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    runs = Runs(result.experiment)
    runs.tag_export(1, RUN * 2)
    assert client.get_run(runs.run_of(1)).data.tags[SHA256] == RUN * 2
    (tmp_path / MANIFEST).write_text("{}")
    record = record_export(result.experiment, 1, tmp_path)
    assert projection.write_trial(result.trials[1], result)
    assert client.get_run(runs.run_of(1)).data.tags[SHA256] == record.sha256
    first = runs.run_of(0)
    client.delete_run(first)
    with pytest.raises(TrackingError, match="does not hold trial 0 yet; `tunefront sync"):
        runs.tag_export(0, RUN * 2)
    client.restore_run(first)


def test_a_store_that_refuses_a_tag_is_named(
    result: Result, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(result.experiment)

    def refuses(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(mlflow.MlflowClient, "set_tag", refuses)
    with pytest.raises(TrackingError, match="MLflow: sqlite:///.*: Read-only file system"):
        runs.tag_export(1, RUN * 2)
