"""Searches that are stopped, killed or lose Ray: the same command resumes them, complete."""

import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
import pytest

from tunefront.search import Trial, load_experiment, recorded_result
from tunefront.search.cluster.supervisor import processes_of as search_processes
from tunefront.search.study.study import STUDY_FILE
from tunefront.search.tracking.store import tracking_uri

from .conftest import small_experiment, variables

pytestmark = pytest.mark.timeout(1500)
TRIALS = int(os.environ.get("TUNEFRONT_SOAK_TRIALS", "8"))
KILLS = int(os.environ.get("TUNEFRONT_SOAK_KILLS", "2"))
OUTPUT = "output.txt"
LONGEST_S = 900.0
UNCONFIRMED = ("--set", "confirmation.finalists=0")
"""Options for a search without confirmation rounds."""
COMMAND = [sys.executable, "-c", "from tunefront.search.cli import main; main()"]
BATCH_SIZES = TRIALS // 2
"""Each batch size has two trials: of the whole model and of half its units."""
UNITS = "units: {values: [64, 32], stage: model}"
NUMPY = Path(__file__).parents[1] / "extensions" / "toy_runtime" / "toy_runtime.py"
"""A runtime whose processes start in half a second of CPU time; torch's take ten times as long."""
HELD_TRIAL = 4
STOPPING = "running trials finish first"
SERVICE = "tunefront.search.cluster.service"
"""Word in the command line of the process that holds Ray."""
HOLD, HELD = f"hold-{HELD_TRIAL // 2 + 1}", "held"
"""Files: the one holds the trials of a batch size, the other says that one waits (mine.py)."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return driver_experiment(tmp_path)


def driver_experiment(folder: Path) -> Path:
    """Write an experiment with `TRIALS` configurations; return its folder."""
    path = small_experiment(folder)
    shutil.copy(NUMPY, folder)
    text = path.read_text().replace("high: 128}", f"high: {BATCH_SIZES}}}\n  {UNITS}")
    text = text.replace("runtime: torch, ", "runtime: numpy, units: 64, ")
    text += f"extensions: [{NUMPY.name}]\n"
    path.write_text(text.replace("measure: 60", "measure: 900"))  # a held trial is measured
    return folder


def start(folder: Path, *more: str) -> "subprocess.Popen[bytes]":
    """Start `tunefront run` in the background, in a session of its own."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    with (folder / OUTPUT).open("w") as output:
        return subprocess.Popen(
            [*COMMAND, "run", str(folder), "--set", f"budget.trials={TRIALS}", *more],
            env={**variables(folder), "TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=output,
            cwd=folder,
            start_new_session=True,
        )


@dataclass(frozen=True)
class Ended:
    """A driver that has ended: its exit code, its output, and the number of recorded trials."""

    code: int
    output: str
    trials: int


def finish(process: "subprocess.Popen[bytes]", folder: Path) -> Ended:
    """Wait until a driver has ended."""
    code = process.wait(timeout=LONGEST_S)
    return Ended(code, (folder / OUTPUT).read_text(), ended_trials(folder))


def wait_for(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not happened():
        assert time.monotonic() < deadline, f"{what} never happened"
        time.sleep(0.1)


def wait_for_output(folder: Path, text: str) -> None:
    wait_for(lambda: text in (folder / OUTPUT).read_text(), text)


def ended_trials(folder: Path) -> int:
    """Return the number of ended trials in the record, without a lock that its writer meets."""
    path = folder / "results" / "small" / STUDY_FILE
    if not path.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as base:
            query = "select count(*) from trials where state in ('COMPLETE', 'FAIL')"
            return int(base.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def hold(folder: Path) -> None:
    """Let the trials before `HELD_TRIAL` end, and that one run until `release`."""
    (folder / HOLD).touch()


def wait_until_held(folder: Path) -> None:
    """Wait until the held trial is being measured; each call waits for another start of it."""
    wait_for((folder / HELD).exists, "the start of the held trial")
    (folder / HELD).unlink()


def release(folder: Path) -> None:
    (folder / HOLD).unlink()


def check_whole(folder: Path, trials: int = TRIALS) -> None:
    """Check that trials and runs are as many as requested, and each configuration is there once."""
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
    """Return the running processes that a search of this folder has started."""
    return search_processes((folder / "results" / "small").absolute())


def leftovers(folder: Path) -> list[str]:
    """Return the files that searches of a folder have left in their folder for temporary files."""
    return [str(path) for path in (folder / "temporary").rglob("*") if not path.is_dir()]


def processes_named(folder: Path, name: str) -> list[psutil.Process]:
    """Return the running processes of a search with this name, or this word in their command."""
    found = []
    for process in processes_of(folder):
        try:
            if name in (process.name(), *process.cmdline()):
                found.append(process)
        except psutil.Error:  # it has just ended
            continue
    return found


def kill_ray(folder: Path, name: str) -> None:
    """Kill the raylet, the GCS or the service that holds Ray."""
    found = processes_named(folder, SERVICE if name == "service" else name)
    assert found
    for process in found:
        process.kill()


def run_and_kill_ray(folder: Path, name: str) -> "subprocess.Popen[bytes]":
    """Start a search, kill a process of Ray during a trial, and wait until that trial runs again.

    The trial is still held.
    """
    hold(folder)
    driver = start(folder, *UNCONFIRMED)
    wait_until_held(folder)
    kill_ray(folder, name)
    wait_until_held(folder)
    return driver


def stop(driver: "subprocess.Popen[bytes]", folder: Path, number: int) -> Ended:
    """Send a signal to a driver whose trial is held; release the trial once the driver stops."""
    os.kill(driver.pid, number)
    wait_for_output(folder, STOPPING)
    release(folder)
    return finish(driver, folder)


def kill_at_random_moments(folder: Path) -> None:
    """Start the driver again and again; kill it or Ray `KILLS` times, half of them in starts."""
    chance = random.Random(0)
    kills = 0
    for disturb in itertools.cycle((in_a_trial, in_a_start, ray_in_a_start, ray_in_a_restart)):
        if kills >= KILLS:
            return
        driver = start(folder)
        kills += 1 + disturb(folder, driver, chance)
        driver.kill()
        driver.wait()


def in_a_trial(
    folder: Path, driver: "subprocess.Popen[bytes]", chance: random.Random, longest_s: float = 1.0
) -> int:
    """Wait for a moment after the next trial; return how many processes were killed."""
    before = ended_trials(folder)
    wait_for(lambda: ended_trials(folder) > before or driver.poll() is not None, "another trial")
    time.sleep(chance.uniform(0.0, longest_s))
    return 0


def in_a_start(folder: Path, driver: "subprocess.Popen[bytes]", chance: random.Random) -> int:
    """Wait for a moment while the driver, or Ray, starts."""
    time.sleep(chance.uniform(0.0, 3.0))
    return 0


def ray_in_a_start(folder: Path, driver: "subprocess.Popen[bytes]", chance: random.Random) -> int:
    """Kill a process of Ray while Ray starts; wait for a moment after the next trial."""
    kills = kill_starting_ray(folder, driver, chance, others=())
    return kills + in_a_trial(folder, driver, chance)


def ray_in_a_restart(folder: Path, driver: "subprocess.Popen[bytes]", chance: random.Random) -> int:
    """Kill Ray in a trial, and again while it restarts."""
    in_a_trial(folder, driver, chance, longest_s=0.2)
    running = processes_named(folder, SERVICE)
    if driver.poll() is None and running:
        kill_ray(folder, "service")
        return 1 + kill_starting_ray(folder, driver, chance, others=running)
    return 0


def kill_starting_ray(
    folder: Path,
    driver: "subprocess.Popen[bytes]",
    chance: random.Random,
    others: Sequence[psutil.Process],
) -> int:
    """Kill the service, the raylet or the GCS of a Ray that starts; return how many processes.

    Args:
        folder: The search's folder.
        driver: Its driver; nothing is killed if it ends.
        chance: Chooses the moment and the process.
        others: Services of an earlier Ray.
    """

    def started() -> list[psutil.Process]:
        return [one for one in processes_named(folder, SERVICE) if one not in others]

    wait_for(lambda: bool(started()) or driver.poll() is not None, "a start of Ray")
    time.sleep(chance.uniform(0.0, 3.0))
    found = [
        process
        for name in chance.sample((SERVICE, "raylet", "gcs_server"), 3)
        for process in processes_named(folder, name)
        if process not in others
    ]
    for process in found[:1]:
        process.kill()
    return len(found[:1])


@dataclass(frozen=True)
class Disturbed:
    """One search that lost Ray, was stopped, was killed several times, and then ended.

    Attributes:
        folder: Its folder.
        stopped: The first run, which lost Ray and was stopped by SIGTERM.
        ended: The last run.
    """

    folder: Path
    stopped: Ended
    ended: Ended


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    folder = driver_experiment(tmp_path_factory.mktemp("disturbed"))
    stopped = stop(run_and_kill_ray(folder, "raylet"), folder, signal.SIGTERM)
    kill_at_random_moments(folder)
    return Disturbed(folder, stopped, finish(start(folder), folder))


def test_ray_is_restarted_and_the_running_trial_is_repeated(disturbed: Disturbed) -> None:
    assert "Ray exited" in disturbed.stopped.output
    trials = recorded_result(load_experiment(disturbed.folder)).trials
    attempts = [trial.attempt for trial in trials[: HELD_TRIAL + 1]]
    assert attempts == [1] * HELD_TRIAL + [2]


def test_sigterm_lets_the_running_trial_end_and_starts_no_other(disturbed: Disturbed) -> None:
    assert disturbed.stopped.code == 143
    assert "resumes it" in disturbed.stopped.output
    assert disturbed.stopped.trials == HELD_TRIAL + 1


def test_a_search_killed_at_random_moments_is_complete(disturbed: Disturbed) -> None:
    assert disturbed.ended.code == 0, disturbed.ended.output
    check_whole(disturbed.folder)
    assert not processes_of(disturbed.folder)
    assert leftovers(disturbed.folder) == []


def test_a_search_killed_at_random_moments_has_the_front_of_an_undisturbed_one(
    disturbed: Disturbed,
) -> None:
    """Scores and weights depend on the units only: no trial dominates another."""
    result = recorded_result(load_experiment(disturbed.folder))
    order = [(t.complete["units"], t.complete["batch_size"]) for t in result.trials]
    sizes = range(1, BATCH_SIZES + 1)
    assert order == [(units, size) for size in sizes for units in (64, 32)]
    (whole,) = {values_of(trial) for trial in result.trials[0::2]}
    (half,) = {values_of(trial) for trial in result.trials[1::2]}
    assert whole[0] == 1.0 > half[0]
    assert whole[1] > half[1]
    assert {trial.number for trial in result.front.trials} == set(range(TRIALS))


def values_of(trial: Trial) -> tuple[float, float]:
    return trial.value("score"), trial.value("weights_mb")


@pytest.mark.soak
@pytest.mark.parametrize("name", ["gcs_server", "service"])
def test_a_search_goes_on_without_a_process_of_ray(folder: Path, name: str) -> None:
    driver = run_and_kill_ray(folder, name)
    release(folder)
    ended = finish(driver, folder)
    assert ended.code == 0, ended.output
    assert "Ray exited" in ended.output
    check_whole(folder)
    assert not processes_of(folder)


@pytest.mark.soak
def test_confirmation_goes_on_without_the_raylet(folder: Path) -> None:
    driver = start(folder)
    wait_for_output(folder, "confirming the finalists")
    kill_ray(folder, "raylet")
    ended = finish(driver, folder)
    assert ended.code == 0, ended.output
    result = recorded_result(load_experiment(folder))
    assert result.front.recommended is not None
    assert result.front.recommended.number in result.confirmation.rounds
    check_whole(folder)


@pytest.mark.soak
def test_an_interrupted_confirmation_is_repeated(folder: Path) -> None:
    driver = start(folder)
    wait_for_output(folder, "confirming the finalists")
    os.kill(driver.pid, signal.SIGINT)
    assert finish(driver, folder).code == 130
    ended = finish(start(folder), folder)
    assert ended.code == 0, ended.output
    assert "confirming: 2 of 2 rounds" in ended.output
    check_whole(folder)


@pytest.mark.soak
def test_a_killed_export_leaves_no_incomplete_one(disturbed: Disturbed) -> None:
    folder = disturbed.folder
    command = [*COMMAND, "export", str(folder)]
    exports = folder / "results" / "small" / "exports"
    for seconds in (2.0, 4.0):
        export = subprocess.Popen(command, env=variables(folder), start_new_session=True)
        time.sleep(seconds)
        export.kill()
        export.wait()
        for made in exports.glob("[!.]*"):
            verified = [*COMMAND, "verify", str(made)]
            assert subprocess.run(verified, env=variables(folder), check=False).returncode == 0
            shutil.rmtree(made)
    assert subprocess.run(command, env=variables(folder), check=False).returncode == 0
    assert [made.name.startswith(".") for made in exports.iterdir()] == [False]


@pytest.mark.soak
def test_sigint_lets_the_running_trial_end_and_the_same_command_resumes(folder: Path) -> None:
    hold(folder)
    driver = start(folder, *UNCONFIRMED)
    wait_until_held(folder)
    stopped = stop(driver, folder, signal.SIGINT)
    assert (stopped.code, stopped.trials) == (130, HELD_TRIAL + 1)
    assert "resumes it" in stopped.output
    ended = finish(start(folder, *UNCONFIRMED), folder)
    assert ended.code == 0, ended.output
    check_whole(folder)


@pytest.mark.soak
def test_a_second_signal_ends_the_driver_and_the_running_trial(folder: Path) -> None:
    hold(folder)
    driver = start(folder)
    wait_until_held(folder)
    os.kill(driver.pid, signal.SIGINT)
    wait_for_output(folder, STOPPING)
    os.kill(driver.pid, signal.SIGINT)
    ended = finish(driver, folder)  # although the trial is still held
    assert (ended.code, ended.trials) == (130, HELD_TRIAL)
    assert not processes_of(folder)
    release(folder)
    assert finish(start(folder), folder).code == 0
    check_whole(folder)


@pytest.mark.soak
def test_a_second_driver_is_refused(folder: Path) -> None:
    hold(folder)
    driver = start(folder)
    wait_until_held(folder)
    second = subprocess.run(
        [*COMMAND, "run", str(folder)], env=variables(folder), capture_output=True, text=True
    )
    assert second.returncode == 2
    assert "is being run already" in second.stderr
    release(folder)
    assert finish(driver, folder).code == 0
    check_whole(folder)
