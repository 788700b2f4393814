"""Whatever ends the driver, Ray or a worker: the same command goes on, nothing lost, none twice."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest

from tunefront.search import Trial, load_experiment, recorded_result
from tunefront.search.cluster.supervisor import TAG, RaySupervisor
from tunefront.search.run.runner import Runner
from tunefront.search.study.study import STUDY_FILE
from tunefront.search.tracking.store import tracking_uri
from tunefront.spaces import StudyError

from .conftest import searched, small_experiment, variables

pytestmark = pytest.mark.timeout(1500)
TRIALS = int(os.environ.get("TUNEFRONT_SOAK_TRIALS", "8"))
KILLS = int(os.environ.get("TUNEFRONT_SOAK_KILLS", "2"))
SAID = "said.txt"
LONGEST_S = 900.0
UNCONFIRMED = ("--set", "confirmation.finalists=0")
"""Without the rounds that other tests are about."""
COMMAND = [sys.executable, "-c", "from tunefront.search.cli import main; main()"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_experiment(tmp_path)
    return tmp_path


def start(folder: Path, *more: str) -> "subprocess.Popen[bytes]":
    """`tunefront run` in the background, in a session of its own."""
    with (folder / SAID).open("w") as said:
        return subprocess.Popen(
            [*COMMAND, "run", str(folder), "--set", f"budget.trials={TRIALS}", *more],
            env=variables(folder),
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=folder,
            start_new_session=True,
        )


def finish(process: "subprocess.Popen[bytes]", folder: Path) -> tuple[int, str]:
    """Exit code and what it said."""
    return process.wait(timeout=LONGEST_S), (folder / SAID).read_text()


def wait_for(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not happened():
        assert time.monotonic() < deadline, f"{what} never happened"
        time.sleep(0.1)


def ended_trials(folder: Path) -> int:
    """Trials in the record that have ended, without disturbing who writes it."""
    path = folder / "results" / "small" / STUDY_FILE
    if not path.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as base:
            query = "select count(*) from trials where state in ('COMPLETE', 'FAIL')"
            return int(base.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def check_whole(folder: Path, trials: int = TRIALS) -> None:
    """As many trials and runs as were asked for, each configuration once."""
    experiment = load_experiment(folder)
    result = recorded_result(experiment)
    assert [trial.number for trial in result.trials] == list(range(trials))
    assert all(trial.status == "ok" for trial in result.trials)
    assert max(Counter(trial.configuration for trial in result.trials).values()) == 1
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(experiment))
    found = client.get_experiment_by_name("small")
    assert found is not None
    runs = client.search_runs([found.experiment_id], max_results=1000)
    tags = Counter(run.data.tags["trial"] for run in runs)
    assert tags == Counter([*map(str, range(trials)), "summary"])
    assert all(run.info.status == "FINISHED" for run in runs)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Everything that a search of this folder has started."""
    tag = str((folder / "results" / "small").absolute())
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TAG) == tag:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same search, never disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    small_experiment(folder)
    code, told = finish(start(folder), folder)
    assert code == 0, told
    return folder


def test_killed_at_random_moments_it_ends_as_if_it_never_was(
    folder: Path, undisturbed: Path
) -> None:
    chance = random.Random(0)
    for _ in range(KILLS):
        driver = start(folder)
        before = ended_trials(folder)
        if chance.random() < 0.7:  # most kills fall among trials
            wait_for(
                lambda b=before, d=driver: ended_trials(folder) > b or d.poll() is not None,  # type: ignore[misc]
                "another trial",
            )
        time.sleep(chance.uniform(0.0, 3.0))
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    code, told = finish(start(folder), folder)
    assert code == 0, told
    check_whole(folder)
    own, other = (recorded_result(load_experiment(f)) for f in (folder, undisturbed))
    assert [t.number for t in own.front.trials] == [t.number for t in other.front.trials]
    assert not processes_of(folder)


@pytest.mark.parametrize(
    "name",
    [
        "raylet",
        pytest.param("gcs_server", marks=pytest.mark.soak),
        pytest.param("service", marks=pytest.mark.soak),
    ],
)
def test_the_end_of_ray_costs_a_restart_and_nothing_else(folder: Path, name: str) -> None:
    driver = start(folder, *UNCONFIRMED)
    wait_for(lambda: ended_trials(folder) >= 3, "the third trial")

    def named(process: psutil.Process) -> bool:
        try:
            words = [process.name(), *process.cmdline()]
        except psutil.Error:  # it has just ended
            return False
        return ("tunefront.search.cluster.service" if name == "service" else name) in words

    for process in filter(named, processes_of(folder)):
        process.kill()
    code, told = finish(driver, folder)
    assert code == 0, told
    assert "Ray exited" in told
    check_whole(folder)
    assert not processes_of(folder)


@pytest.mark.soak
def test_confirmation_outlives_ray(folder: Path) -> None:
    driver = start(folder)
    wait_for(lambda: "confirming the finalists" in (folder / SAID).read_text(), "confirmation")
    for process in processes_of(folder):
        if process.name() == "raylet":
            process.kill()
    code, told = finish(driver, folder)
    assert code == 0, told
    result = recorded_result(load_experiment(folder))
    assert result.front.recommended is not None
    assert result.front.recommended.number in result.confirmation.rounds
    check_whole(folder)


@pytest.mark.soak
def test_an_interrupted_confirmation_is_done_again(folder: Path) -> None:
    driver = start(folder)
    wait_for(lambda: "confirming the finalists" in (folder / SAID).read_text(), "confirmation")
    os.kill(driver.pid, signal.SIGINT)
    code, _ = finish(driver, folder)
    assert code == 130
    code, told = finish(start(folder), folder)
    assert code == 0, told
    assert "confirming: 2 of 2 rounds" in told
    check_whole(folder)


@pytest.mark.soak
def test_a_killed_export_leaves_nothing_that_looks_like_one(undisturbed: Path) -> None:
    command = [*COMMAND, "export", str(undisturbed)]
    exports = undisturbed / "results" / "small" / "exports"
    for seconds in (2.0, 4.0):
        export = subprocess.Popen(command, env=variables(undisturbed), start_new_session=True)
        time.sleep(seconds)
        export.kill()
        export.wait()
        for made in exports.glob("[!.]*"):
            verified = [*COMMAND, "verify", str(made)]
            assert subprocess.run(verified, env=variables(undisturbed), check=False).returncode == 0
            shutil.rmtree(made)
    assert subprocess.run(command, env=variables(undisturbed), check=False).returncode == 0
    assert [made.name.startswith(".") for made in exports.iterdir()] == [False]


@pytest.mark.parametrize(
    ("number", "expected"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.soak), (signal.SIGTERM, 143)],
)
def test_one_signal_lets_what_runs_end_and_the_same_command_goes_on(
    folder: Path, number: int, expected: int
) -> None:
    driver = start(folder, *UNCONFIRMED)
    wait_for(lambda: ended_trials(folder) >= 2, "the second trial")
    os.kill(driver.pid, number)
    code, told = finish(driver, folder)
    assert code == expected
    assert "resumes it" in told
    result = recorded_result(load_experiment(folder))
    assert all(trial.status == "ok" for trial in result.trials)
    assert 2 <= len(result.trials) < TRIALS
    code, told = finish(start(folder, *UNCONFIRMED), folder)
    assert code == 0, told
    check_whole(folder)


@pytest.mark.soak
def test_two_signals_end_it_at_once(folder: Path) -> None:
    driver = start(folder)
    wait_for(lambda: ended_trials(folder) >= 2, "the second trial")
    os.kill(driver.pid, signal.SIGINT)
    time.sleep(0.1)
    os.kill(driver.pid, signal.SIGINT)
    asked = time.monotonic()
    code, _ = finish(driver, folder)
    assert code == 130
    assert time.monotonic() - asked < 60
    assert not processes_of(folder)
    assert finish(start(folder), folder)[0] == 0
    check_whole(folder)


@pytest.mark.soak
def test_a_second_driver_is_refused(folder: Path) -> None:
    driver = start(folder)
    wait_for(lambda: ended_trials(folder) >= 1, "the first trial")
    second = subprocess.run(
        [*COMMAND, "run", str(folder)], env=variables(folder), capture_output=True, text=True
    )
    assert second.returncode == 2
    assert "is being run already" in second.stderr
    assert finish(driver, folder)[0] == 0
    check_whole(folder)


class Full:
    """A search whose trials find the disk full, and the same command once there is room.

    Attributes:
        ended: What the first one ended with.
        found: The second one, whose record another process locks for a while.
        locked: Whether it did.
    """

    def __init__(self, path: Path) -> None:
        always = {number: ("quality", "fills the disk for ever") for number in range(1, 4)}
        with pytest.raises(StudyError) as ended:
            searched(path, always, trials=5)
        self.ended = ended.value
        self.locked = threading.Event()
        self.found = searched(path, {}, trials=5, during=self._lock)

    def _lock(self, runner: Runner, host: RaySupervisor, trial: Trial) -> None:
        if trial.number == 1:
            record = runner.study.experiment.results / STUDY_FILE
            threading.Thread(target=_hold, args=(record, self.locked)).start()


def _hold(path: Path, held: threading.Event) -> None:
    """The file locked for some seconds, as a backup or a reader may."""
    base = sqlite3.connect(path, timeout=30, isolation_level=None)
    base.execute("begin exclusive")
    held.set()
    time.sleep(4)
    base.execute("rollback")
    base.close()


@pytest.fixture(scope="module")
def full(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Full:
    """A search that this process drives itself."""
    return Full(small_experiment(tmp_path_factory.mktemp("full")))


def test_a_full_disk_ends_the_search_with_words_and_freed_it_goes_on(full: Full) -> None:
    """Three trials in a row can't write: that is no failure of theirs."""
    assert "the disk is full" in str(full.ended)
    assert [trial.status for trial in full.found.trials] == ["ok"] * 5


def test_a_locked_record_is_waited_for(full: Full) -> None:
    assert full.locked.is_set()
    assert [trial.number for trial in full.found.trials] == list(range(5))
    assert [trial.status for trial in full.found.trials] == ["ok"] * 5
