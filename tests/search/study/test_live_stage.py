"""What a worker says that it is doing, and who forgets it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tunefront.evaluators import Evaluation, WorkloadDescription
from tunefront.search import Experiment
from tunefront.search.results.metadata import write_record
from tunefront.search.run.driver_process import only_driver
from tunefront.search.run.status import status_of
from tunefront.search.study.live_stage import (
    delete_stage,
    delete_stages,
    note_stage,
    note_wait,
    stage_file,
    stage_of,
    stage_versions,
)
from tunefront.search.study.study import Study


def test_a_wait_replaces_the_text_of_the_stage_until_it_ends(tmp_path: Path) -> None:
    note_stage(tmp_path, 3, "measure")
    note_wait(tmp_path, 3, "waiting for 2 cores; `a` (pid 7) holds them")
    found = stage_of(tmp_path, 3)
    assert found is not None
    assert (found.stage, found.text) == ("measure", "waiting for 2 cores; `a` (pid 7) holds them")
    note_wait(tmp_path, 3, "")
    found = stage_of(tmp_path, 3)
    assert found is not None
    assert found.text == "measuring"


def test_what_was_said_last_is_read_until_it_is_forgotten(tmp_path: Path) -> None:
    assert stage_of(tmp_path, 3) is None
    before = time.time()
    note_stage(tmp_path, 3, "build")
    note_stage(tmp_path, 3, "measure")
    found = stage_of(tmp_path, 3)
    assert found is not None
    assert (found.stage, found.text) == ("measure", "measuring")
    assert before <= found.since <= time.time()
    delete_stage(tmp_path, 3)
    delete_stage(tmp_path, 3)
    assert stage_of(tmp_path, 3) is None


def test_every_change_is_seen(tmp_path: Path) -> None:
    seen = [stage_versions(tmp_path)]
    for number, stage in ((1, "build"), (2, "build"), (2, "measure")):
        note_stage(tmp_path, number, stage)
        seen.append(stage_versions(tmp_path))
        time.sleep(0.02)  # the clock of files ticks
    delete_stages(tmp_path)
    assert len({tuple(look) for look in seen}) == 4
    assert stage_versions(tmp_path) == []


def test_a_disk_that_can_not_be_written_fails_no_trial(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a file where the folder should be")
    note_stage(tmp_path, 1, "build")
    assert stage_of(tmp_path, 1) is None


def test_what_is_not_whole_is_not_read(tmp_path: Path) -> None:
    note_stage(tmp_path, 1, "build")
    stage_file(tmp_path, 1).write_text('{"stage": "bui')
    assert stage_of(tmp_path, 1) is None


@pytest.fixture
def experiment(load: Callable[..., Experiment]) -> Experiment:
    """One whose second trial runs."""
    experiment = load("budget.trials=3")
    study = Study.open(experiment, {"test": "yes"})
    write_record(experiment, experiment.space.enumerate(), WorkloadDescription(fingerprint="f"))
    study.tell(
        study.ask(experiment.baseline), Evaluation(status="failed", cause="oom", message="m")
    )
    study.ask(experiment.baseline)
    return experiment


def test_status_reports_running_trials_while_a_driver_runs(experiment: Experiment) -> None:
    with only_driver(experiment):
        assert "now: 001 torch b1 t1: starting" in status_of(experiment).lines()
        note_stage(experiment.results, 1, "build")
        status = status_of(experiment)
        since = time.strftime("%H:%M:%S", time.localtime(status.stages[1].since))
        assert f"now: 001 torch b1 t1: building, since {since}" in status.lines()
        fields = status.fields()["stages"]
        assert fields == {"1": {"stage": "build", "since": status.stages[1].since, "waiting": ""}}
    assert not any(line.startswith("now:") for line in status_of(experiment).lines())
    assert status_of(experiment).fields()["stages"] == {}
