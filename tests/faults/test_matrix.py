"""Every fault at every stage: its cause is recorded, others don't notice, nothing is left."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import psutil
import pytest

from tunefront.search.cluster.supervisor import TAG
from tunefront.search.results.result import result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import TRIAL_ATTEMPTS
from tunefront.search.tracking.projection import Projection
from tunefront.search.tracking.store import tracking_uri

from . import bodies
from .conftest import Searched, searched, small_experiment

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
STAGES = {"model": "build", "runtime": "build", "quality": "quality", "execution": "measure"}
CELLS = [
    (stage, fault)
    for fault in CAUSES
    for stage in STAGES
    # A build may take long: one hang of it is enough.
    if not (fault == "hangs in C" and stage in ("model", "runtime"))
]
WORKER = [("worker", "dies once"), ("worker", "dies always")]
FINE_EVERY = 6


def plan() -> dict[int, tuple[str, str]]:
    """Stage and fault by trial number; the baseline and every sixth trial are fine."""
    numbers = (n for n in range(1, 1000) if n % FINE_EVERY)
    return dict(zip(numbers, [*CELLS, *WORKER], strict=False))


@pytest.fixture(scope="module")
def struck(environment: Path) -> Iterator[Searched]:
    """A search with a fault in most of its trials."""
    planned = plan()
    yield searched(small_experiment(environment), planned, trials=max(planned) + 2)


@pytest.mark.parametrize(("stage", "fault"), CELLS)
def test_a_fault_is_a_result_of_its_trial(struck: Searched, stage: str, fault: str) -> None:
    number = next(n for n, cell in plan().items() if cell == (stage, fault))
    trial = struck.trials[number]
    cause, words = CAUSES[fault]
    if cause is None:
        assert trial.status == "ok"
        return
    if cause == "disk full":  # nobody's fault: it ran again when there was room
        assert any(f"trial {number}: the disk is full" in line for line in struck.said)
        assert (trial.status, trial.attempt) == ("ok", 1)
        return
    assert trial.status == "failed"
    assert trial.evaluation is not None
    assert (trial.cause, trial.evaluation.stage) == (cause, STAGES[stage])
    assert words in trial.evaluation.message
    assert not trial.measurements


def test_others_are_not_affected(struck: Searched) -> None:
    fine = [trial for trial in struck.trials if trial.number not in plan()]
    assert len(fine) > 5
    assert all(trial.status == "ok" for trial in fine)


def test_a_worker_that_dies_once_is_forgiven(struck: Searched) -> None:
    number = next(n for n, cell in plan().items() if cell == WORKER[0])
    assert (struck.trials[number].status, struck.trials[number].attempt) == ("ok", 2)


def test_a_worker_that_always_dies_is_a_crash(struck: Searched) -> None:
    number = next(n for n, cell in plan().items() if cell == WORKER[1])
    trial = struck.trials[number]
    assert (trial.status, trial.cause, trial.attempt) == ("failed", "crash", TRIAL_ATTEMPTS)


def test_no_process_is_left_behind(struck: Searched) -> None:
    for process in psutil.process_iter():
        try:
            assert process.environ().get(TAG) != str(struck.experiment.results)
            assert bodies.SECRET_SLEEP not in process.cmdline()
        except (psutil.Error, OSError):
            continue


def test_no_half_built_candidate_is_left_behind(struck: Searched, environment: Path) -> None:
    stores = [environment / "cache" / "stages", struck.experiment.results / "stores"]
    folders = [path for store in stores for path in store.rglob("*") if path.is_dir()]
    assert folders
    assert not [path for path in folders if path.name.startswith(".")]
    fine = next(n for n, cell in plan().items() if cell == ("runtime", "chatters"))
    halves = [path for store in stores for path in store.rglob("half") if path.is_file()]
    assert all(str(fine) in path.parts for path in halves)


def test_nothing_is_left_in_shared_memory(struck: Searched) -> None:
    assert not list(Path("/dev/shm").glob("torch_*_struck"))


def test_mlflow_shows_how_each_ended(struck: Searched) -> None:
    result = result_of(struck.experiment, struck.trials, Confirmation(rounds={}))
    projection = Projection(struck.experiment, struck.study.search_id)
    projection.write_trials(struck.trials, result)
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(struck.experiment))
    runs = client.search_runs([projection.experiment_id], max_results=1000)
    assert len(runs) == len(struck.trials)
    for run in runs:
        trial = struck.trials[int(run.data.tags["trial"])]
        if trial.status == "failed":
            assert run.info.status == "FAILED"
            assert run.data.tags["reason"].startswith(f"{trial.cause}: ")
            assert "throughput" not in run.data.metrics
        else:
            assert run.info.status == "FINISHED"
