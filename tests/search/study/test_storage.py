"""The file of a record while another process holds its lock, or it can't be used otherwise."""

import itertools
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment
from tunefront.search.run.events import Event, StopRequested
from tunefront.search.run.runner import Runner
from tunefront.search.run.signals import stop_handler
from tunefront.search.study import storage
from tunefront.search.study import study as study_module
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.storage import (
    Retries,
    StudyEvent,
    StudyInterrupted,
    StudyRestored,
    passing_problem,
    search_command,
)
from tunefront.search.study.study import STUDY_FILE, Study
from tunefront.spaces import StudyError

IDENTITY = {"test": "yes"}
LOCKS = ("BEGIN EXCLUSIVE", "BEGIN; SELECT * FROM trials")
"""Statements after which nothing can be read, or nothing can be written."""
Load = Callable[..., Experiment]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither SQLite nor Optuna nor the retries wait long."""
    monkeypatch.setattr(storage, "LOCK_S", 0.01)
    monkeypatch.setattr(storage, "RETRY_PAUSE_S", 0.0)
    monkeypatch.setattr(random, "random", lambda: 0.0)


class Other:
    """Another process, which holds the lock of a record's file until that is reported."""

    def __init__(self, path: Path) -> None:
        self.events: list[StudyEvent] = []
        self._connection = sqlite3.connect(path, isolation_level=None)

    def lock(self, statements: str) -> None:
        for statement in statements.split(";"):
            self._connection.execute(statement).fetchall()

    def close(self) -> None:
        self._connection.close()

    def on_event(self, event: StudyEvent) -> None:
        self.events.append(event)
        if isinstance(event, StudyInterrupted):
            self._connection.execute("ROLLBACK")


@pytest.fixture
def experiment(load: Load, evaluation: Callable[..., Evaluation]) -> Experiment:
    """An experiment whose record has a baseline and a running trial."""
    found = load("budget.trials=7")
    study = Study.open(found, IDENTITY)
    study.tell(study.ask(found.baseline), evaluation())
    study.ask(found.space.member({"threads": 2}))
    return found


@pytest.fixture
def other(experiment: Experiment) -> Iterator[Other]:
    with closing(Other(experiment.results / STUDY_FILE)) as other:
        yield other


WRITES: dict[str, Callable[[Study, Evaluation], object]] = {
    "ask": lambda study, found: study.ask(study.experiment.space.member({"batch_size": 8})),
    "tell": lambda study, found: study.tell(1, found),
    "restart": lambda study, found: study.restart(1),
    "spend": lambda study, found: study.spend(3.0),
    "forecast": lambda study, found: study.set_forecast(1, 0.5),
    "confirmation": lambda study, found: study.set_confirmation(Confirmation()),
}


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("name", WRITES)
def test_a_write_waits_for_the_lock_and_is_made_once(
    experiment: Experiment,
    other: Other,
    evaluation: Callable[..., Evaluation],
    name: str,
    lock: str,
) -> None:
    study = Study.open(experiment, IDENTITY, other.on_event)
    other.lock(lock)
    WRITES[name](study, evaluation(throughput=300.0))
    interrupted, restored = other.events
    path = experiment.results / STUDY_FILE
    assert interrupted == StudyInterrupted(
        path=path, problem="database is locked", longest_s=storage.LONGEST_S
    )
    assert isinstance(restored, StudyRestored)
    read = Study.read(experiment)
    assert read.trials() == study.trials()
    states = [(trial.status, trial.attempt) for trial in read.trials()]
    assert states == {
        "ask": [("ok", 1), ("running", 1), ("running", 1)],
        "tell": [("ok", 1), ("ok", 1)],
        "restart": [("ok", 1), ("running", 2)],
    }.get(name, [("ok", 1), ("running", 1)])


def test_a_search_that_is_stopped_while_the_record_is_locked_ends_at_once(
    experiment: Experiment, other: Other
) -> None:
    """What has ended can't be recorded then; the same command records it."""
    stops: list[Event] = []
    study = Study.open(experiment, IDENTITY, lambda event: stop(signal.SIGINT, None))
    runner = SimpleNamespace(stopped=False, signal=0, study=study)
    stop = stop_handler(cast("Runner", runner), stops.append)
    other.lock(LOCKS[0])
    with pytest.raises(KeyboardInterrupt):
        study.spend(3.0)
    assert stops == []
    other.on_event(StudyInterrupted(path=Path(), problem="", longest_s=0.0))  # frees the lock
    study.spend(4.0)
    stop(signal.SIGINT, None)
    assert stops == [StopRequested(signal=signal.SIGINT)]


def test_a_record_is_opened_once_its_lock_is_free(experiment: Experiment, other: Other) -> None:
    other.lock(LOCKS[0])
    assert len(Study.open(experiment, IDENTITY, other.on_event).trials()) == 2
    assert [type(event) for event in other.events] == [StudyInterrupted, StudyRestored]


def test_a_lock_that_is_held_for_too_long_ends_the_search_with_the_next_step(
    experiment: Experiment, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "LONGEST_S", 0.0)
    study = Study.open(experiment, IDENTITY)
    other.lock(LOCKS[0])
    with pytest.raises(StudyError) as caught:
        study.spend(3.0)
    path = experiment.results / STUDY_FILE
    assert str(caught.value) == (
        f"{path} could not be used for 0 s (database is locked); end the process that holds it "
        f"(`fuser -v {path}` lists it), then `tunefront run {experiment.path} --set "
        "budget.trials=7` resumes the search; nothing that has ended is lost"
    )


def test_a_command_that_reads_ends_with_the_next_step(
    experiment: Experiment, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunefront.search.study.sqlite_reader.BUSY_S", 0.01)
    clock = SimpleNamespace(monotonic=itertools.count(0, 50).__next__, sleep=lambda seconds: None)
    monkeypatch.setattr(storage, "time", clock)
    other.lock(LOCKS[0])
    with pytest.raises(StudyError, match=r"could not be used for 1 min .*, then try again$"):
        Study.read(experiment)


def test_other_errors_of_the_file_name_the_disk() -> None:
    def full() -> None:
        raise OSError("the commit failed") from sqlite3.OperationalError("disk is full")

    with pytest.raises(StudyError) as caught:
        Retries(Path("/r/study.db"), "try again", longest_s=0.0)(full)
    assert str(caught.value) == (
        "/r/study.db could not be used for 0 s (disk is full); check free space and permissions of "
        "/r, then try again"
    )


def test_errors_that_cannot_pass_are_raised_at_once() -> None:
    def access(error: Exception) -> Callable[[], None]:
        def fail() -> None:
            raise error

        return fail

    events: list[StudyEvent] = []
    retries = Retries(Path("study.db"), "try again", on_event=events.append)
    for error in (ValueError("a"), sqlite3.IntegrityError("b"), StudyError("c")):
        with pytest.raises(type(error), match=str(error)):
            retries(access(error))
    missing = sqlite3.OperationalError("unable to open database file")
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        retries(access(missing), opening=True)
    assert events == []
    assert passing_problem(missing) == "unable to open database file"
    assert passing_problem(ValueError("a")) is None


def test_a_failed_baseline_can_run_again(
    load: Load, evaluation: Callable[..., Evaluation], failure: Callable[..., Evaluation]
) -> None:
    experiment = load()
    study = Study.open(experiment, IDENTITY)
    assert study.tell(study.ask(experiment.baseline), failure()).status == "failed"
    identity = study.search_id
    study.reopen_baseline()
    (baseline,) = study.trials()
    assert (baseline.number, baseline.status, baseline.ended) == (0, "running", None)
    assert baseline.started is not None
    assert study.reconcile({}) == [0]
    again = study.restart(0, counted=False)
    assert again is not None and again.attempt == 1
    told = study.tell(0, evaluation(throughput=7.0))
    assert (told.status, told.value("throughput")) == ("ok", 7.0)
    for record in (Study.read(experiment), Study.open(experiment, IDENTITY)):
        assert (record.trials(), record.search_id) == ([told], identity)


def test_the_command_that_resumes_has_the_options_of_the_search(load: Load) -> None:
    experiment = load("budget.trials=7", "name=a b", smoke=True)
    assert search_command(experiment) == (
        f"tunefront run {experiment.path} --smoke --set budget.trials=7 --set 'name=a b'"
    )
