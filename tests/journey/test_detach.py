"""A search in the background: started, watched, killed, stopped and resumed, for real.

The fixtures run four searches on one record, one after the other: `running` becomes `killed`, then
`stopped`, `stopped_now` and `finished`. The tests are in that order: a test of `running` needs the
driver that the fixture `killed` kills.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.caches import new_cache

from tunefront.evaluators.pipelines.inference import InferencePipeline
from tunefront.search import load_experiment
from tunefront.search.run.driver_process import driver_of

from .conftest import NUMPY, command, environment, in_process

FILE = """\
name: in the background
workload: {task: custom, model: "mine:model", inputs: "mine:inputs", quality: "mine:quality"}
extensions: [toy_runtime.py]
space: {runtime: [numpy], batch_size: [1, 3, 5, 6, 7, 8, 9, 10]}
baseline: {runtime: numpy, batch_size: 1}
objectives: {throughput: maximize, score: maximize}
budget: {trials: 60}
measurement: {seconds: 0.2, turns: 3, requests: 2, wait: 0, reference: false}
confirmation: {finalists: 0}
concurrent_trials: 1
"""
MODULE = """\
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent

def model():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 2))

def place_of(batch_size):
    order = FOLDER / "order"
    sizes = order.read_text().split() if order.exists() else []
    if str(batch_size) not in sizes:
        sizes.append(str(batch_size))
        order.write_text(" ".join(sizes))
    return sizes.index(str(batch_size))

def allowed():
    return int((FOLDER / "allowed").read_text())

def inputs(batch_size, count):
    if batch_size != 4 and batch_size * count >= 20:  # what is measured: twice the largest batch
        place = place_of(batch_size)
        if place >= allowed():
            (FOLDER / "held").touch()
        while place >= allowed():
            time.sleep(0.05)
    return [{"input": np.ones((batch_size, 4), dtype=np.float32)} for _ in range(count)]

def quality(run):
    return 1.0
"""
LONG_S = 900
TRIALS = ("--set", "budget.trials=3")
MORE_TRIALS = ("--set", "budget.trials=4")
AWAY = "http://127.0.0.1:9"

Completed = subprocess.CompletedProcess[str]


class BackgroundSearch:
    """A search in a folder, and the command line for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "experiment.yaml"
        self.file.write_text(FILE)
        (folder / "mine.py").write_text(MODULE)
        shutil.copy(NUMPY, folder)
        self.allow(8)
        self.results = folder / "results" / "in-the-background"
        self.environment = environment(new_cache(folder / "cache"))
        self.experiment = load_experiment(self.file)
        self.resume = f"`tunefront run {self.file} {' '.join(TRIALS)}` resumes it"

    def start(self, name: str, *arguments: str, **extra: str) -> Completed:
        """A command in a process of its own: it starts a search, or waits for one."""
        return command(name, self.file, *arguments, extra={**self.environment, **extra})

    def ask(self, name: str, *arguments: str, **extra: str) -> Completed:
        """A command that answers at once."""
        return in_process(name, self.file, *arguments, extra={**self.environment, **extra})

    def open(self, name: str, *arguments: str) -> "subprocess.Popen[str]":
        """A command whose output is read while it runs."""
        return subprocess.Popen(
            [sys.executable, "-m", "tunefront.search.cli", name, str(self.file), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

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

    def allow(self, configurations: int) -> None:
        """Let only so many configurations be measured: a trial of a further one is held."""
        new = self.folder / "new"
        new.write_text(str(configurations))
        new.replace(self.folder / "allowed")

    def wait_until_held(self) -> None:
        held = self.folder / "held"
        self.wait_until(held.exists)

    def start_held(self, *arguments: str) -> Completed:
        """Start a driver in the background; return once a trial that it has started is held."""
        (self.folder / "held").unlink(missing_ok=True)
        started = self.start("run", "--detach", *TRIALS, *arguments)
        assert started.returncode == 0, started.stderr
        self.wait_until_held()
        return started

    def kill(self) -> None:
        """Kill the driver if there is one, and return once it has ended."""
        if pid := self.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.wait_until(lambda: self.pid is None)


@pytest.fixture
def other_search(tmp_path: Path) -> Iterator[BackgroundSearch]:
    """A search without a record."""
    found = BackgroundSearch(tmp_path)
    yield found
    found.kill()


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundSearch]:
    found = BackgroundSearch(tmp_path_factory.mktemp("search"))
    yield found
    found.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A driver in the background.

    Attributes:
        started: What `run --detach` printed.
        pid: The driver's process id.
    """

    started: Completed
    pid: int


@pytest.fixture(scope="module")
def running(search: BackgroundSearch) -> Running:
    """The first search, instead of an earlier record; the baseline has ended, 001 is held."""
    search.results.mkdir(parents=True)
    for name in ("old.txt", "study.db"):
        (search.results / name).touch()
    search.allow(1)
    started = search.start_held("--fresh")
    assert search.pid
    return Running(started=started, pid=search.pid)


def test_a_search_starts_in_the_background(search: BackgroundSearch, running: Running) -> None:
    assert f"runs in the background (pid {running.pid})" in running.started.stderr
    for line in ("watch: tunefront status", "stop:  tunefront stop", "log:   "):
        assert line in running.started.stderr
    assert os.getsid(running.pid) == running.pid, "a session of its own"


def test_fresh_archives_the_earlier_record(search: BackgroundSearch, running: Running) -> None:
    assert "archived the earlier record" in search.log()
    assert not (search.results / "old.txt").exists()


@pytest.mark.parametrize("arguments", [(), ("--detach",), ("--detach", "--fresh")])
def test_a_second_driver_is_refused(
    search: BackgroundSearch, running: Running, arguments: tuple[str, ...]
) -> None:
    second = search.ask("run", *arguments)
    assert second.returncode == 2
    assert "is being run already" in second.stderr


def test_the_status_of_a_running_search(search: BackgroundSearch, running: Running) -> None:
    printed = search.ask("status").stdout
    counts = rf"2 of 3 trials \(1 ok, 1 running\); running \(pid {running.pid}\)"
    assert re.search(counts, printed), printed
    fields = json.loads(search.ask("status", "--format", "json").stdout)["run"]
    assert all(at["stage"] in InferencePipeline.stages for at in fields.pop("stages").values())
    assert fields == {
        "planned": 3,
        "running": True,
        "pid": running.pid,
        "another_hour": None,
        "resume_command": None,
    }


@pytest.fixture(scope="module")
def killed(search: BackgroundSearch, running: Running) -> None:
    """The first search after the end of its driver by `kill -9`."""
    search.kill()


def test_a_killed_driver_is_not_running(search: BackgroundSearch, killed: None) -> None:
    assert f"not running; {search.resume}" in search.ask("status").stdout
    assert "nothing to stop" in search.ask("stop").stderr


@pytest.fixture(scope="module")
def stopped(search: BackgroundSearch, killed: None) -> tuple[int, Completed]:
    """The second search after `stop`: the driver's process id, and what `stop` printed."""
    search.start_held()
    pid = search.pid
    assert pid
    with ThreadPoolExecutor(1) as pool:
        stop = pool.submit(search.start, "stop")
        search.wait_until(lambda: "stopping (" in search.log())
        search.allow(2)
        return pid, stop.result()


def test_stop_lets_the_running_trial_end(
    search: BackgroundSearch, stopped: tuple[int, Completed]
) -> None:
    pid, stop = stopped
    assert stop.returncode == 0, stop.stderr
    assert f"sent the driver (pid {pid}) a request to stop" in stop.stderr
    assert f"stopped; {search.resume}" in stop.stderr
    assert search.pid is None
    assert f"interrupted; {search.resume}" in search.log()
    assert search.log().count("--- ") == 2
    status = search.ask("status").stdout
    assert f"2 of 3 trials (2 ok); not running; {search.resume}" in status
    assert "nothing to stop" in search.ask("stop").stderr


def test_a_resumed_search_writes_what_the_killed_driver_did_not(
    search: BackgroundSearch, stopped: tuple[int, Completed]
) -> None:
    synced = search.ask("sync")
    assert synced.returncode == 0, synced.stderr
    assert re.match(r"MLflow holds all 2 trials, 0 of them written now\n", synced.stdout)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedNow:
    """A driver that was ended by `stop --now` while `stop` waited for its trial.

    Attributes:
        pid: The driver's process id.
        requested: The first line of `stop`.
        waiting: The second line of `stop`.
        rest: The other lines of `stop`.
        returncode: The exit code of `stop`.
        now: What `stop --now` printed.
    """

    pid: int
    requested: str
    waiting: str
    rest: str
    returncode: int
    now: Completed


@pytest.fixture(scope="module")
def stopped_now(search: BackgroundSearch, stopped: tuple[int, Completed]) -> StoppedNow:
    """The third search after `stop` and `stop --now`; trial 002 was held."""
    search.start_held()
    pid = search.pid
    assert pid
    stop = search.open("stop")
    assert stop.stderr is not None
    requested, waiting = stop.stderr.readline(), stop.stderr.readline()
    assert search.pid == pid, "the driver waits for its trial"
    now = search.start("stop", "--now")
    rest = stop.communicate(timeout=300)[1]
    return StoppedNow(
        pid=pid,
        requested=requested,
        waiting=waiting,
        rest=rest,
        returncode=stop.returncode,
        now=now,
    )


def test_stop_now_drops_the_running_trial(
    search: BackgroundSearch, stopped_now: StoppedNow
) -> None:
    pid = stopped_now.pid
    assert f"sent the driver (pid {pid}) a request to stop" in stopped_now.requested
    assert re.match(r"waiting for 1 trial: 002 numpy b", stopped_now.waiting)
    assert stopped_now.now.returncode == 0, stopped_now.now.stderr
    assert f"`kill -9 {pid}`; finished trials are kept" in stopped_now.now.stderr
    assert "resumes it" in stopped_now.rest
    assert stopped_now.returncode == 0
    assert search.pid is None
    status = search.ask("status").stdout
    assert f"3 of 3 trials (1 interrupted, 2 ok); not running; {search.resume}" in status


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A search that has run to its end.

    Attributes:
        run: What `run` printed.
        lines: What `status --watch` printed, by line.
        watch: The exit code of `status --watch`.
    """

    run: Completed
    lines: list[str]
    watch: int


@pytest.fixture(scope="module")
def finished(search: BackgroundSearch, stopped_now: StoppedNow) -> Finished:
    """The fourth search: one more trial, in the foreground, without MLflow, watched to its end."""
    (search.folder / "held").unlink()
    with ThreadPoolExecutor(1) as pool:
        coloured = {"TERM": "xterm-256color", "NO_COLOR": ""}
        run = pool.submit(search.start, "run", *MORE_TRIALS, MLFLOW_TRACKING_URI=AWAY, **coloured)
        search.wait_until_held()
        watch = search.open("status", "--watch")
        assert watch.stdout is not None
        lines = [watch.stdout.readline()]
        search.allow(3)
        while lines[-1] and "3 ok, 1 running" not in lines[-1]:
            lines.append(watch.stdout.readline())
        search.allow(4)
        lines += watch.communicate(timeout=LONG_S)[0].splitlines()
        return Finished(run=run.result(), lines=lines, watch=watch.returncode)


def test_watch_prints_every_change_until_the_driver_exits(
    search: BackgroundSearch, finished: Finished
) -> None:
    assert finished.watch == 0
    lines = [line.rstrip("\n") for line in finished.lines]
    assert all(re.match(r"\d\d:\d\d:\d\d \d of \d+ trials \(", line) for line in lines), lines
    assert len(lines) >= 3
    assert "running (pid " in lines[0]
    assert "4 of 4 trials (4 ok); front:" in lines[-1]
    assert lines[-1].endswith("; not running")
    assert "\x1b" not in "".join(lines)
    refused = search.ask("status", "--watch", "--format", "json")
    assert refused.returncode == 2


def test_a_finished_search_has_nothing_to_resume(
    search: BackgroundSearch, finished: Finished
) -> None:
    assert finished.run.returncode == 0, finished.run.stderr
    assert "4 of 4 trials (4 ok); not running\n" in search.ask("status").stdout
    rows = list(csv.DictReader(search.ask("status", "--format", "csv").stdout.splitlines()))
    assert [row["number"] for row in rows] == [str(number) for number in range(4)]


def test_output_that_is_not_a_terminal_has_no_escape_codes(finished: Finished) -> None:
    assert "\x1b" not in finished.run.stdout + finished.run.stderr
    assert "no more trials: budget.trials 4 reached" in finished.run.stderr
    assert "throughput, items/s (more is better)" in finished.run.stdout


def test_a_resumed_search_continues_without_mlflow(
    search: BackgroundSearch, finished: Finished
) -> None:
    assert "127.0.0.1:9 can't be reached" in finished.run.stderr
    assert "the search continues without it" in finished.run.stderr
    missing = "not there yet: 4 trials (000, 001, 002, 003) and the front"
    assert missing in finished.run.stderr
    assert "Traceback" not in finished.run.stderr
    away = search.ask("sync", MLFLOW_TRACKING_URI=AWAY)
    assert away.returncode == 2
    assert "127.0.0.1:9 can't be reached" in away.stderr
    synced = search.ask("sync")
    assert synced.returncode == 0, synced.stderr
    assert re.match(r"MLflow holds all 4 trials, [2-4] of them written now\n", synced.stdout)
    assert "front:  http://127.0.0.1:5000/#/experiments/" in synced.stdout


def test_fresh_keeps_the_record_if_the_workload_is_broken(
    search: BackgroundSearch, finished: Finished
) -> None:
    broken = search.ask("run", "--fresh", "--set", "workload.model=mine:modle")
    assert broken.returncode == 2
    assert "mine:modle" in broken.stderr
    assert "archived the earlier record" not in broken.stderr
    assert "4 of 4 trials" in search.ask("status").stdout


def test_errors_at_the_start_are_printed(other_search: BackgroundSearch) -> None:
    (other_search.folder / "mine.py").write_text("raise RuntimeError('not today')\n")
    done = other_search.start("run", "--detach", "--set", "workload.model=mine:gone")
    assert done.returncode in (0, 2)  # 0 on a slow machine, where the error comes later
    if done.returncode == 2:
        assert "not today" in done.stderr
    other_search.wait_until(lambda: other_search.pid is None)
    assert "not today" in other_search.log()
    unknown = other_search.ask("run", "--detach", "--set", "budgt.trials=6")
    assert unknown.returncode == 2
    assert "did you mean 'budget'" in unknown.stderr


def test_sigterm_before_the_first_trial_ends_the_driver(other_search: BackgroundSearch) -> None:
    (other_search.folder / "mine.py").write_text("import time\ntime.sleep(60)\n" + MODULE)
    process = other_search.open("run")
    assert process.stderr is not None
    assert process.stderr.readline() == "checking model and data\n"
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 143, printed
    assert "run the same command to resume" in printed
    assert other_search.pid is None


def test_a_search_without_a_record_has_nothing_to_sync(other_search: BackgroundSearch) -> None:
    done = other_search.ask("sync")
    assert done.returncode == 2
    assert "start with `tunefront run" in done.stderr
