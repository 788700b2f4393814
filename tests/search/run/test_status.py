"""How far a search is, in words: with a driver, without one, and while it changes."""

import re
import threading
from collections.abc import Callable, Sequence

import pytest

from tunefront.evaluators import Evaluation, WorkloadDescription
from tunefront.search import Experiment
from tunefront.search.results.metadata import (
    recorded_result,
    recorded_trials,
    resume_command,
    write_record,
)
from tunefront.search.run.driver_process import DriverState, lock_path, only_driver
from tunefront.search.run.status import SearchStatus, status_of, stop_search, watch
from tunefront.search.study.live_stage import CONFIRMATION, note_stage, note_wait
from tunefront.search.study.lock import hold_lock
from tunefront.search.study.study import Study
from tunefront.search.tracking.note import Links, front_page
from tunefront.spaces import Configuration, Region, SearchSpace, StudyError

Load = Callable[..., Experiment]


@pytest.fixture
def experiment(load: Load) -> Experiment:
    return load("budget.trials=3")


@pytest.fixture
def study(experiment: Experiment, evaluation: Callable[..., Evaluation]) -> Study:
    """The record of a search with its baseline."""
    study = Study.open(experiment, {"test": "yes"})
    write_record(experiment, experiment.space.enumerate(), WorkloadDescription(fingerprint="f"))
    study.tell(study.ask(experiment.baseline), evaluation())
    return study


def other(experiment: Experiment, threads: int) -> Configuration:
    return Configuration({**experiment.baseline, "threads": threads, "batch_size": 8})


def test_an_unfinished_search_reports_what_runs(
    experiment: Experiment, study: Study, failure: Callable[..., Evaluation]
) -> None:
    study.tell(study.ask(other(experiment, 2)), failure("timeout", "it hung"))
    status = status_of(experiment)
    assert status.lines() == [
        "Made up: 2 of 3 trials (1 failed, 1 ok); not running; "
        f"`tunefront run {experiment.path} --set budget.trials=3` resumes it",
        "front: 1 trial; 000 torch b1 t1: the baseline",
        "failed: 001 torch b8 t2: timeout: it hung",
    ]
    assert status.fields() == {
        "planned": 3,
        "running": False,
        "pid": None,
        "another_hour": None,
        "stages": {},
        "resume_command": f"tunefront run {experiment.path} --set budget.trials=3",
    }


def test_a_running_search_reports_its_driver(experiment: Experiment, study: Study) -> None:
    import os

    with only_driver(experiment):
        status = status_of(experiment)
    assert status.line() == (
        f"1 of 3 trials (1 ok); front: 1 trial; 000 torch b1 t1: the baseline; "
        f"running (pid {os.getpid()})"
    )
    assert status.fields()["resume_command"] is None


def test_while_model_and_data_are_checked_the_new_budget_counts(experiment: Experiment) -> None:
    with only_driver(experiment) as driver:
        assert status_of(experiment).counts() == "0 of ? trials (none yet)"
        driver.note(DriverState(planned=6))
        assert status_of(experiment).counts() == "0 of 6 trials (none yet)"


def test_once_they_have_been_checked_the_record_counts(
    experiment: Experiment, study: Study
) -> None:
    with only_driver(experiment) as driver:
        driver.note(DriverState(planned=6))
        assert status_of(experiment).planned == 6
        driver.note(DriverState(planned=6, checked=True))
        assert status_of(experiment).planned == 3


def test_a_round_of_confirmation_has_a_line(experiment: Experiment, study: Study) -> None:
    note_stage(experiment.results, CONFIRMATION, "measure")
    note_wait(experiment.results, CONFIRMATION, "waiting for 2 cores")
    with only_driver(experiment):
        (line,) = status_of(experiment).stage_lines()
    assert line.startswith("now: confirming the finalists: waiting for 2 cores, since ")


def test_a_driver_that_can_not_be_seen_is_reported_as_such(
    experiment: Experiment, study: Study
) -> None:
    path = lock_path(experiment)
    with hold_lock(path):
        path.write_text("1")  # runs, but does not hold the lock
        assert (
            status_of(experiment)
            .driver_text()
            .startswith("running (pid of another user, container")
        )
        with pytest.raises(StudyError, match="process of another user, container or machine"):
            stop_search(experiment, now=False, on_message=lambda line: None)


def test_a_search_that_has_ended_has_nothing_to_go_on_with(
    experiment: Experiment, study: Study, evaluation: Callable[..., Evaluation]
) -> None:
    for threads in (1, 2):
        study.tell(study.ask(other(experiment, threads)), evaluation())
    assert status_of(experiment).driver_text() == "not running"


def test_a_trial_that_was_running_when_the_driver_ended_is_to_be_run(
    load: Load, evaluation: Callable[..., Evaluation]
) -> None:
    experiment = load("budget.trials=1")
    study = Study.open(experiment, {"test": "yes"})
    write_record(experiment, experiment.space.enumerate(), WorkloadDescription(fingerprint="f"))
    study.ask(experiment.baseline)
    status = status_of(experiment)
    assert status.unfinished
    assert status.front() == ""
    assert "1 of 1 trials (1 interrupted); not running; `" in status.lines()[0]


def test_the_forecast_for_another_hour_is_reported(
    experiment: Experiment, study: Study, evaluation: Callable[..., Evaluation]
) -> None:
    assert status_of(experiment).forecast_text() == ""
    study.set_forecast(60, 0.0314)
    status = status_of(experiment)
    left = 8 - len(study.trials())
    assert status.lines()[-1] == (
        f"another hour ({left} trials) is expected to add at most 3.14 % to the front"
    )
    assert status.fields()["another_hour"] == {"trials": 60, "gain_at_most": 0.0314}
    for configuration in experiment.space.enumerate().runnable:
        study.tell(study.ask(configuration), evaluation())
    assert status_of(experiment).forecast_text() == ""


def test_what_failures_ruled_out_is_not_waited_for(
    load: Load, evaluation: Callable[..., Evaluation], failure: Callable[..., Evaluation]
) -> None:
    """A runtime that failed in three of three trials is set aside."""
    experiment = load("budget={hours: 2}", "space.runtime=[torch, onnxruntime]")
    study = Study.open(experiment, {"test": "yes"})
    enumeration = experiment.space.enumerate()
    write_record(experiment, enumeration, WorkloadDescription(fingerprint="f"))
    failed = 0
    for configuration in enumeration.runnable:
        broken = configuration["runtime"] == "onnxruntime"
        failed += broken
        if failed <= 3 or not broken:
            study.tell(study.ask(configuration), failure() if broken else evaluation())
    status = status_of(experiment)
    assert failed > 3
    assert f"3 failed, {len(status.trials) - 3} ok, {failed - 3} skipped" in status.counts()
    assert status.planned == len(status.trials)
    assert status.driver_text() == "not running"


def test_status_show_and_the_note_do_not_list_the_space(
    load: Load,
    evaluation: Callable[..., Evaluation],
    failure: Callable[..., Evaluation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Configurations that failures exclude are counted once for each result."""
    experiment = load("space.runtime=[torch, onnxruntime]", "space.batch_size=[1, 8, 16]")
    study = Study.open(experiment, {"test": "yes"})
    enumeration = experiment.space.enumerate()
    write_record(experiment, enumeration, WorkloadDescription(fingerprint="f"))
    study.tell(study.ask(experiment.baseline), evaluation())
    broken = [c for c in enumeration.runnable if c["runtime"] == "onnxruntime"]
    for configuration in broken[:3]:
        study.tell(study.ask(configuration), failure())

    counted: list[int] = []
    count = SearchSpace.count

    def counting(space: SearchSpace, regions: Sequence[Region]) -> list[int]:
        counted.append(len(regions))
        return count(space, regions)

    monkeypatch.setattr(SearchSpace, "enumerate", lambda _: pytest.fail("the space is listed"))
    monkeypatch.setattr(SearchSpace, "count", counting)
    left = len(broken) - 3
    status = status_of(experiment)
    for _ in range(3):
        assert f"{left} skipped" in status.lines()[0]
        assert status.fields()["planned"] == len(enumeration.runnable) - left
    assert counted == [1]
    result = recorded_result(experiment)
    assert f"3 failed, {left} skipped" in result.counts()
    note = front_page(result, Links(runs={}, views={}, picture="", report=""))
    assert f"3 failed, {left} configurations skipped" in note
    assert re.search(rf"\(.*\): {left} configurations", note)
    assert counted == [1, 1]


def test_a_baseline_that_failed_has_ended_the_search(
    load: Load, failure: Callable[..., Evaluation]
) -> None:
    experiment = load("budget.trials=3")
    study = Study.open(experiment, {"test": "yes"})
    study.tell(study.ask(experiment.baseline), failure())
    assert status_of(experiment).driver_text() == "not running"


def test_before_the_record_there_is_only_the_driver(experiment: Experiment) -> None:
    with pytest.raises(StudyError, match="no record in"):
        status_of(experiment)
    with only_driver(experiment):
        status = status_of(experiment)
    assert status.result is None
    assert "0 of ? trials (none yet); running (pid " in status.lines()[0]


@pytest.mark.parametrize(
    ("overrides", "planned"),
    [
        ((), 8),  # all there are: 60 is the default
        (("budget={trials: 5}",), 5),
        (("budget={trials: 500}",), 8),
        (("budget={hours: 2}",), 8),
        (("baseline={batch_size: 4}", "budget={hours: 2}"), 9),
    ],
)
def test_the_budget_is_the_one_that_the_search_was_started_with(
    load: Load, overrides: tuple[str, ...], planned: int
) -> None:
    experiment = load(*overrides)
    write_record(experiment, experiment.space.enumerate(), WorkloadDescription(fingerprint=""))
    later = load("budget.trials=2")
    from tunefront.search.results.metadata import read_record

    record = read_record(experiment)
    assert recorded_trials(record) == planned
    written = [word for text in overrides for word in ("--set", f"'{text}'")]
    message = resume_command(later, record)
    assert message == " ".join(["tunefront", "run", str(later.path), *written])


def test_a_quick_check_is_resumed_as_a_quick_check(load: Load) -> None:
    experiment = load(smoke=True)
    assert resume_command(experiment, {}) == f"tunefront run {experiment.path} --smoke"


def test_watching_shows_every_change_and_ends_with_the_driver(
    experiment: Experiment,
    study: Study,
    evaluation: Callable[..., Evaluation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tunefront.search.run.status.STATUS_POLL_S", 0.05)
    shown: list[SearchStatus] = []
    changed = threading.Event()

    def show(status: SearchStatus) -> None:
        shown.append(status)
        changed.set()

    with only_driver(experiment):
        watching = threading.Thread(target=watch, args=(experiment, show))
        watching.start()
        for threads in (1, 2):
            assert changed.wait(60)
            changed.clear()
            study.tell(study.ask(other(experiment, threads)), evaluation())
        assert changed.wait(60)
    watching.join(60)
    assert not watching.is_alive()
    counts = [len(status.trials) for status in shown]
    assert counts == sorted(counts)
    assert counts[0] == 1 and counts[-1] == 3
    assert [status.driver is None for status in shown] == [False] * (len(shown) - 1) + [True]
    assert len({tuple(status.lines()) for status in shown}) == len(shown)


def test_where_nothing_runs_there_is_nothing_to_stop(experiment: Experiment) -> None:
    said: list[str] = []
    stop_search(experiment, now=False, on_message=said.append)
    assert said == ["Made up: no driver runs; nothing to stop"]
