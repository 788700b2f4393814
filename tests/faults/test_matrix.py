"""Every fault at every stage: its cause is recorded, and other trials are not affected."""

import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
import pytest

from tunefront.evaluators.evaluation.clean_text import LONGEST_FAILURE, clean_text
from tunefront.search import Trial
from tunefront.search.cluster.supervisor import RaySupervisor, processes_of
from tunefront.search.results.result import result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import STUDY_FILE, TRIAL_ATTEMPTS
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.store import tracking_uri
from tunefront.spaces import StudyError

from . import bodies
from .conftest import FaultySearch, small_experiment

pytestmark = pytest.mark.timeout(1500)  # the search comes with the first test
CAUSES = {
    "raises": ("exception", "something unexpected"),
    "segfaults": ("crash", "SIGSEGV"),
    "aborts": ("crash", "SIGABRT"),
    "is killed": ("oom", "SIGKILL"),
    "leaves": ("crash", "exit code 3"),
    "hangs": ("timeout", "not done after"),
    "hangs in C": ("timeout", "not done after"),
    "eats memory": ("oom", ""),
    "eats torch's memory": ("oom", ""),
    "fills the disk": ("disk full", "space"),
    "leaves a grandchild": ("exception", "left a child behind"),
    "leaves shared memory": ("oom", "SIGKILL"),
    "chatters": (None, ""),
}
"""The cause that is recorded, and words of the message; None where the trial is fine."""
ONCE_CAUSES = {
    "raises odd words": ("exception", "odd"),
    "raises without words": ("exception", "Wordless"),
    "hangs suspended": ("timeout", "not done after"),
    "ends the fork server": ("crash", "fork server ended"),
    "removes its folder": ("crash", "no result"),
}
"""The same of faults that are alike at every stage, and occur at one."""
STAGES = {"model": "build", "runtime": "build", "quality": "quality", "execution": "measure"}
CELLS = [
    (stage, fault)
    for fault in CAUSES
    for stage in STAGES
    # Both stages of a build run in one process: faults that leave nothing behind occur once.
    if not (stage == "model" and fault not in ("raises", "fills the disk", "leaves a grandchild"))
    # A build may take long: one hang of it is enough.
    if not (fault == "hangs in C" and stage == "runtime")
]
ONCE = [("quality", fault) for fault in ONCE_CAUSES]
WORKER = [("worker", "dies always"), ("worker", "dies once")]
"""In this order the search needs one worker less that imports a runtime."""
DISK_FULL = (1, 2, 3)
"""Trials that find the disk full in the first run."""
FINE_EVERY = 8
LOCKED_S, LOCK_WAIT_S = 2.0, 300.0


def plan() -> dict[int, tuple[str, str]]:
    """Return stage and fault by trial number; the first trials and every eighth have none."""
    numbers = (n for n in range(DISK_FULL[-1] + 1, 1000) if n % FINE_EVERY)
    return dict(zip(numbers, [*CELLS, *ONCE, *WORKER], strict=False))


def number_of(stage: str, fault: str) -> int:
    """Return the number of the trial with this fault."""
    return next(number for number, cell in plan().items() if cell == (stage, fault))


@dataclass(frozen=True)
class Searched:
    """A search that has ended, with a fault in most of its trials.

    Attributes:
        search: The search.
        trials: All of its trials.
        disk_full: The error of its first run, whose trials found the disk full.
        locked: Whether another process locked the record during the second run.
    """

    search: FaultySearch
    trials: Sequence[Trial]
    disk_full: StudyError
    locked: bool


@pytest.fixture(scope="module")
def searched(environment: Path) -> Searched:
    """Run a search twice: with a full disk, and with every fault at every stage."""
    search, planned = FaultySearch(small_experiment(environment)), plan()
    always = {number: ("quality", "fills the disk for ever") for number in DISK_FULL}
    lock = Lock(search.experiment.results / STUDY_FILE)
    trials = max(planned) + 2
    with RaySupervisor(search.experiment.results, cores=1, gpus=0) as supervisor:
        with pytest.raises(StudyError) as full:
            search.run(supervisor, always, trials)
        search.run(supervisor, planned, trials, lambda trial: lock.take_at(trial.number))
    return Searched(search, search.study.trials(), full.value, lock.held.is_set())


class Lock:
    """A lock on the record, which another process such as a backup can take for some seconds."""

    def __init__(self, record: Path) -> None:
        self.held = threading.Event()
        self._record = record

    def take_at(self, number: int) -> None:
        """Take the lock when the first of the trials has ended that the disk was full for."""
        if number == DISK_FULL[0]:
            threading.Thread(target=self._hold).start()
            assert self.held.wait(LOCK_WAIT_S)

    def _hold(self) -> None:
        base = sqlite3.connect(self._record, timeout=LOCK_WAIT_S, isolation_level=None)
        base.execute("begin exclusive")
        self.held.set()
        time.sleep(LOCKED_S)
        base.execute("rollback")
        base.close()


@pytest.mark.parametrize(("stage", "fault"), [*CELLS, *ONCE])
def test_a_fault_is_a_result_of_its_trial(searched: Searched, stage: str, fault: str) -> None:
    number = number_of(stage, fault)
    trial = searched.trials[number]
    cause, words = {**CAUSES, **ONCE_CAUSES}[fault]
    if cause is None:
        assert trial.status == "ok"
        return
    if cause == "disk full":  # no failure of the trial: it ran again when there was room
        assert any(f"trial {number}: the disk is full" in line for line in searched.search.events)
        assert (trial.status, trial.attempt) == ("ok", 1)
        return
    assert trial.status == "failed"
    assert trial.evaluation is not None
    assert (trial.cause, trial.evaluation.stage) == (cause, STAGES[stage])
    assert words in trial.evaluation.message
    assert trial.evaluation.message == clean_text(trial.evaluation.message, LONGEST_FAILURE)
    assert not trial.measurements


def test_others_are_not_affected(searched: Searched) -> None:
    fine = [trial for trial in searched.trials if trial.number not in plan()]
    assert len(fine) > 5
    assert all(trial.status == "ok" for trial in fine)


def test_a_trial_whose_worker_dies_once_runs_again(searched: Searched) -> None:
    number = number_of("worker", "dies once")
    assert (searched.trials[number].status, searched.trials[number].attempt) == ("ok", 2)


def test_a_trial_whose_worker_always_dies_is_a_crash(searched: Searched) -> None:
    number = number_of("worker", "dies always")
    trial = searched.trials[number]
    assert (trial.status, trial.cause, trial.attempt) == ("failed", "crash", TRIAL_ATTEMPTS)


def test_no_process_is_left_behind(searched: Searched) -> None:
    assert not processes_of(searched.search.experiment.results)
    for process in psutil.process_iter():
        try:
            assert bodies.GRANDCHILD_SLEEP not in process.cmdline()
        except (psutil.Error, OSError):
            continue


def test_no_half_built_candidate_is_left_behind(searched: Searched, environment: Path) -> None:
    stores = [environment / "cache" / "stages", searched.search.experiment.results / "stores"]
    folders = [path for store in stores for path in store.rglob("*") if path.is_dir()]
    assert folders
    assert not [path for path in folders if path.name.startswith(".")]
    fine = number_of("runtime", "chatters")
    halves = [path for store in stores for path in store.rglob("half") if path.is_file()]
    assert all(str(fine) in path.parts for path in halves)


def test_nothing_is_left_in_shared_memory(searched: Searched) -> None:
    assert not list(Path("/dev/shm").glob("torch_*_fault"))


def test_mlflow_shows_how_each_ended(searched: Searched) -> None:
    """One trial of each outcome is written, because MLflow takes a while for a run."""
    experiment = searched.search.experiment
    written = list({trial.cause: trial for trial in searched.trials}.values())
    assert {trial.status for trial in written} == {"ok", "failed"}
    result = result_of(experiment, searched.trials, Confirmation(rounds={}))
    projection = Projection(experiment, searched.search.study.search_id)
    projection.write_trials(written, result)
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(experiment))
    runs = client.search_runs([projection.experiment_id], max_results=1000)
    assert len(runs) == len(written)
    for run in runs:
        trial = searched.trials[int(run.data.tags["trial"])]
        if trial.status == "failed":
            assert run.info.status == "FAILED"
            assert run.data.tags["reason"].startswith(f"{trial.cause}: ")
            assert "throughput" not in run.data.metrics
        else:
            assert run.info.status == "FINISHED"


def test_a_full_disk_ends_the_search_with_an_error(searched: Searched) -> None:
    """Trials in a row that can't write have not failed: they run again when there is room."""
    assert "the disk is full" in str(searched.disk_full)
    again = [searched.trials[number] for number in DISK_FULL]
    assert [trial.status for trial in again] == ["ok"] * len(DISK_FULL)


def test_the_search_waits_for_a_locked_record(searched: Searched) -> None:
    assert searched.locked
    assert [trial.number for trial in searched.trials] == list(range(len(searched.trials)))
    assert not [trial.number for trial in searched.trials if trial.status == "running"]
