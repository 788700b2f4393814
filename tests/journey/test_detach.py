"""A night in the background: started, looked at, stopped, killed, gone on with. All for real."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.caches import new_cache

from tunefront.evaluators.pipelines.inference import InferencePipeline
from tunefront.search import load_experiment
from tunefront.search.run.driver_process import driver_of

from .conftest import command, environment

FILE = """\
name: in the background
workload: {task: custom, model: "mine:model", inputs: "mine:inputs", quality: "mine:quality"}
space: {runtime: [torch], batch_size: [1, 2, 3, 4, 5, 6, 7, 8]}
baseline: {runtime: torch, batch_size: 1}
objectives: {throughput: maximize, score: maximize}
budget: {trials: 60}
measurement: {seconds: 0.2, turns: 3, wait: 0, reference: false}
confirmation: {finalists: 0}
concurrent_trials: 1
"""
MODULE = """\
import time
from pathlib import Path

import numpy as np
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 2)

def inputs(batch_size, count):
    if Path(__file__).with_name("slow").exists():
        Path(__file__).with_name("asleep").touch()
        time.sleep(600)
    sizes = Path(__file__).with_name("sizes")
    sizes.mkdir(exist_ok=True)
    (sizes / str(batch_size)).touch()
    # One for the check of the data; trials of three more sizes can end while it is held.
    while Path(__file__).with_name("hold").exists() and len(list(sizes.iterdir())) > 4:
        time.sleep(0.05)
    return [{"input": np.ones((batch_size, 4), dtype=np.float32)} for _ in range(count)]

def quality(run):
    return 1.0
"""
LONG_S = 900


class Night:
    """A search in a folder, and the command line beside it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "experiment.yaml"
        self.file.write_text(FILE)
        (folder / "mine.py").write_text(MODULE)
        self.results = folder / "results" / "in-the-background"
        self.environment = environment(new_cache(folder / "cache"))
        self.experiment = load_experiment(self.file)

    def cli(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return command(name, self.file, *arguments, extra=self.environment)

    @property
    def pid(self) -> int | None:
        return driver_of(self.experiment)

    def log(self) -> str:
        return (self.results / "run.log").read_text()

    def wait_until(self, reached: Callable[[], object]) -> None:
        deadline = time.monotonic() + LONG_S
        while not reached():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.2)

    def ended(self) -> int:
        """Trials that the log says have ended."""
        return len(re.findall(r"^\d\d:\d\d:\d\d \d{3} ", self.log(), re.MULTILINE))


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    found = Night(tmp_path)
    yield found
    if found.pid:
        with suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGKILL)


def test_a_night_in_the_background_is_looked_at_stopped_and_gone_on_with(night: Night) -> None:
    hold = night.file.with_name("hold")
    hold.touch()  # however quick trials are, the last one of six does not end
    started = night.cli("run", "--detach", "--set", "budget.trials=6")
    assert started.returncode == 0, started.stderr
    pid = night.pid
    assert pid
    assert f"runs in the background (pid {pid})" in started.stderr
    for line in ("watch: tunefront status", "stop:  tunefront stop", "log:   "):
        assert line in started.stderr
    assert os.getsid(pid) == pid, "a session of its own"

    for arguments in ((), ("--detach",), ("--detach", "--fresh")):
        second = night.cli("run", *arguments)
        assert second.returncode == 2
        assert "is being run already" in second.stderr

    night.wait_until(lambda: night.ended() >= 2)
    told = night.cli("status").stdout
    assert re.search(rf"of 6 trials \(.*\); running \(pid {pid}\)", told), told
    fields = json.loads(night.cli("status", "--format", "json").stdout)["run"]
    assert all(at["stage"] in InferencePipeline.stages for at in fields.pop("stages").values())
    assert fields == {
        "planned": 6,
        "running": True,
        "pid": pid,
        "another_hour": None,
        "resume_command": None,
    }

    def let_go() -> None:
        night.wait_until(lambda: "stopping (" in night.log())
        hold.unlink()

    threading.Thread(target=let_go).start()
    stopped = night.cli("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert f"sent the driver (pid {pid}) a request to stop" in stopped.stderr
    goes_on = f"`tunefront run {night.file} --set budget.trials=6` resumes it"
    assert f"stopped; {goes_on}" in stopped.stderr
    assert night.pid is None
    assert "stopping (" in night.log()
    assert f"interrupted; {goes_on}" in night.log()
    assert f"not running; {goes_on}" in night.cli("status").stdout
    assert "nothing to stop" in night.cli("stop").stderr

    done = night.cli("run", "--set", "budget.trials=6")
    assert done.returncode == 0, done.stderr
    assert "6 of 6 trials (6 ok); not running\n" in night.cli("status").stdout
    rows = list(csv.DictReader(night.cli("status", "--format", "csv").stdout.splitlines()))
    assert [row["number"] for row in rows] == [str(number) for number in range(6)]


def test_stopping_now_drops_what_is_running(night: Night) -> None:
    assert night.cli("run", "--detach").returncode == 0
    pid = night.pid
    night.wait_until(night.ended)
    (night.file.parent / "slow").touch()
    night.wait_until(night.file.with_name("asleep").exists)
    patient = subprocess.Popen(
        [sys.executable, "-m", "tunefront.search.cli", "stop", str(night.file)],
        stderr=subprocess.PIPE,
        text=True,
        env=night.environment,
    )
    assert patient.stderr is not None
    assert f"sent the driver (pid {pid}) a request to stop" in patient.stderr.readline()
    assert re.match(r"waiting for 1 trial: \d+ torch b", patient.stderr.readline())
    assert night.pid == pid
    hasty = night.cli("stop", "--now")
    assert hasty.returncode == 0, hasty.stderr
    assert f"`kill -9 {pid}`; finished trials are kept" in hasty.stderr
    assert "resumes it" in patient.communicate(timeout=300)[1]
    assert patient.returncode == 0
    assert night.pid is None
    said = night.cli("status").stdout
    assert re.search(r"\(1 interrupted, \d ok\); not running; `tunefront run", said)


def test_a_killed_driver_is_not_taken_for_a_running_one(night: Night) -> None:
    assert night.cli("run", "--detach", "--set", "budget.trials=4").returncode == 0
    night.wait_until(lambda: night.ended() >= 1)
    assert night.pid
    os.kill(night.pid, signal.SIGKILL)
    night.wait_until(lambda: night.pid is None)
    assert "not running; `tunefront run" in night.cli("status").stdout
    assert "nothing to stop" in night.cli("stop").stderr
    again = night.cli("run", "--detach", "--set", "budget.trials=4")
    assert again.returncode == 0, again.stderr
    night.wait_until(lambda: night.pid is None)
    assert night.log().count("--- ") == 2
    assert "; not running\n" in night.cli("status").stdout
    synced = night.cli("sync")
    assert synced.returncode == 0, synced.stderr
    assert re.match(r"MLflow holds all \d+ trials, 0 of them written now\n", synced.stdout)


def test_what_is_wrong_from_the_start_is_said_at_once(night: Night) -> None:
    (night.file.parent / "mine.py").write_text("raise RuntimeError('not today')\n")
    done = night.cli("run", "--detach", "--set", "workload.model=mine:gone")
    assert done.returncode in (0, 2)  # a slow machine reads the module later than it is waited for
    if done.returncode == 2:
        assert "not today" in done.stderr
    night.wait_until(lambda: night.pid is None)
    assert "not today" in night.log()
    unknown = night.cli("run", "--detach", "--set", "budgt.trials=6")
    assert unknown.returncode == 2
    assert "did you mean 'budget'" in unknown.stderr


def test_starting_anew_puts_the_record_aside_and_is_watched_until_it_is_over(night: Night) -> None:
    night.results.mkdir(parents=True)
    for name in ("old.txt", "study.db"):
        (night.results / name).touch()
    started = night.cli("run", "--detach", "--fresh", "--set", "budget.trials=3")
    assert started.returncode == 0, started.stderr
    night.wait_until(lambda: "archived the earlier record" in night.log())
    assert not (night.results / "old.txt").exists()

    watched = night.cli("status", "--watch")
    assert watched.returncode == 0, watched.stderr
    lines = watched.stdout.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d \d of \d+ trials \(", line) for line in lines), lines
    assert len(lines) >= 3
    assert "running (pid " in lines[0]
    assert "3 of 3 trials (3 ok); front:" in lines[-1]
    assert lines[-1].endswith("; not running")
    assert "\x1b" not in watched.stdout
    assert "3 trials" in night.log()
    refused = night.cli("status", "--watch", "--format", "json")
    assert refused.returncode == 2

    broken = night.cli("run", "--fresh", "--set", "workload.model=mine:modle")
    assert "mine:modle" in broken.stderr
    assert "archived the earlier record" not in broken.stderr
    assert "3 of 3 trials" in night.cli("status").stdout


def test_sigterm_before_the_first_trial_closes_what_was_begun(night: Night) -> None:
    (night.file.parent / "mine.py").write_text("import time\ntime.sleep(60)\n" + MODULE)
    process = subprocess.Popen(
        [sys.executable, "-m", "tunefront.search.cli", "run", str(night.file)],
        stderr=subprocess.PIPE,
        text=True,
        env=night.environment,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "checking model and data\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 143, said
    assert "run the same command to resume" in said
    assert night.pid is None


def test_a_search_goes_on_where_mlflow_is_away_and_catches_up(night: Night) -> None:
    first = night.cli("run", "--set", "budget.trials=2")
    assert first.returncode == 0, first.stderr
    night.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    second = night.cli("run", "--set", "budget.trials=4")
    assert second.returncode == 0, second.stderr
    assert "127.0.0.1:9 can't be reached" in second.stderr
    assert "the search continues without it" in second.stderr
    assert "not there yet: 4 trials (000, 001, 002, 003) and the front" in second.stderr
    assert "Traceback" not in second.stderr
    away = night.cli("sync")
    assert away.returncode == 2
    assert "127.0.0.1:9 can't be reached" in away.stderr
    del night.environment["MLFLOW_TRACKING_URI"]
    synced = night.cli("sync")
    assert synced.returncode == 0, synced.stderr
    assert synced.stdout.startswith("MLflow holds all 4 trials, ")
    assert "front:  http://127.0.0.1:5000/#/experiments/" in synced.stdout


def test_a_search_that_was_never_run_has_nothing_to_sync(night: Night) -> None:
    done = night.cli("sync")
    assert done.returncode == 2
    assert "start with `tunefront run" in done.stderr
