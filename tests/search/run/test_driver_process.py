"""One driver a search, told to end once: real processes, real signals."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunefront.search import Experiment, Trial, result_of
from tunefront.search.run.driver_process import (
    _early_exit_code,
    _relay,
    driver_of,
    only_driver,
    request_stop,
)
from tunefront.search.run.search import RunResult, _outcome
from tunefront.search.run.status import stop_search
from tunefront.search.study.confirmation import Confirmation
from tunefront.spaces import StudyError

DRIVER = """
import signal, sys, time
from tunefront.search import load_experiment
from tunefront.search.run.driver_process import only_driver

experiment = load_experiment(sys.argv[1])
asked = 0

def note(number, frame):
    global asked
    asked += 1
    print(f"asked {asked}", flush=True)

signal.signal(signal.SIGTERM, note)
with only_driver(experiment):
    print("drives", flush=True)
    while asked < int(sys.argv[2]):
        time.sleep(0.05)
"""
Start = Callable[[int], "subprocess.Popen[str]"]


@pytest.fixture
def experiment(load: Callable[..., Experiment]) -> Experiment:
    return load()


@pytest.fixture
def start(experiment: Experiment) -> Iterator[Start]:
    """A driver that ends when it has been asked so often."""
    started: list[subprocess.Popen[str]] = []

    def begin(asks: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", DRIVER, str(experiment.path), str(asks)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "drives\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


CHECKING = """
import sys
from tunefront.search import load_experiment
from tunefront.search.run.driver_process import DriverState, only_driver

with only_driver(load_experiment(sys.argv[1])) as driver:
    driver.note(DriverState(planned=6))
    print("12:00:00 checking model and data", flush=True)
    if sys.stdin.readline() != "good\\n":
        sys.exit("12:00:01 error: no such model")
    driver.note(DriverState(planned=6, checked=True))
    sys.stdin.readline()
"""


@pytest.mark.parametrize("answer", ["good", "bad"])
def test_a_search_in_the_background_is_left_alone_once_it_has_checked_model_and_data(
    experiment: Experiment, tmp_path: Path, answer: str
) -> None:
    log = tmp_path / "run.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", CHECKING, str(experiment.path)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    assert process.stdin is not None
    lines: list[str] = []
    with process.stdin, log.open("rb") as written:

        def relay() -> None:
            before = len(lines)
            _relay(written, lines.append)
            if lines and not before:  # the check is under way: now it ends
                process.stdin.write(f"{answer}\n".encode())  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]

        code = _early_exit_code(experiment, process, relay)
        _relay(written, lines.append)
    process.wait()
    failed = answer == "bad"
    assert code == (1 if failed else None)
    assert lines == ["checking model and data", *(["error: no such model"] if failed else [])]


def test_a_second_driver_is_refused(experiment: Experiment, start: Start) -> None:
    process = start(1)
    assert driver_of(experiment) == process.pid
    with pytest.raises(StudyError, match="Made up is being run already"), only_driver(experiment):
        pass
    assert driver_of(experiment) == process.pid


def test_a_driver_is_asked_once_however_often(experiment: Experiment, start: Start) -> None:
    process = start(2)
    for _ in range(3):
        assert request_stop(experiment, now=False) == process.pid
    assert process.stdout is not None
    assert process.stdout.readline() == "asked 1\n"  # signals that meet are one
    request_stop(experiment, now=True)
    assert process.communicate(timeout=300)[0] == "asked 2\n"
    assert driver_of(experiment) is None
    assert request_stop(experiment, now=False) is None


def test_now_asks_twice(experiment: Experiment, start: Start) -> None:
    process = start(2)
    request_stop(experiment, now=True)
    assert process.communicate(timeout=300)[0] == "asked 1\nasked 2\n"


def test_the_next_driver_is_asked_again(experiment: Experiment, start: Start) -> None:
    for _ in range(2):
        process = start(1)
        request_stop(experiment, now=False)
        assert process.communicate(timeout=300)[0] == "asked 1\n"


def test_stopping_waits_until_the_driver_has_ended(experiment: Experiment, start: Start) -> None:
    process = start(1)
    said: list[str] = []
    stop_search(experiment, now=False, on_message=said.append)
    assert driver_of(experiment) is None
    assert (
        said[0] == f"sent the driver (pid {process.pid}) a request to stop after its running trials"
    )
    assert said[-1] == f"stopped; `tunefront run {experiment.path}` starts it"


def test_a_process_that_only_has_the_drivers_old_number_is_left_alone(
    experiment: Experiment, start: Start
) -> None:
    process = start(1)
    process.kill()
    process.communicate()
    lock = experiment.results.parent / f".{experiment.slug}.lock"
    lock.write_text(str(os.getpid()))
    assert request_stop(experiment, now=False) is None


@pytest.mark.parametrize(
    ("status", "stopped", "outcome", "code"),
    [
        ("ok", False, "done", 0),
        ("infeasible", False, "no trial within limits", 3),
        ("failed", False, "baseline failed", 4),
        ("failed", True, "interrupted", 130),
    ],
)
def test_a_failed_baseline_is_called_that(
    experiment: Experiment,
    trial: Callable[..., Trial],
    status: str,
    stopped: bool,
    outcome: str,
    code: int,
) -> None:
    figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "quality_drop": 9.0}
    if status == "ok":
        figures["quality_drop"] = 0.0
    trials = [trial(0, status=status, **({} if status == "failed" else figures))]
    result = result_of(experiment, trials, Confirmation())
    found = _outcome(result, stopped)
    assert found == outcome
    signalled = signal.SIGINT if stopped else 0
    finished = RunResult(
        outcome=found, result=result, link="", folder=Path(), seconds=0.0, signal=signalled
    )
    assert finished.exit_code == code
    assert _outcome(result_of(experiment, [], Confirmation()), False) == "no trial within limits"


def test_the_signal_decides_the_exit_code() -> None:
    codes = {
        number: RunResult(
            outcome="interrupted",
            result=None,  # type: ignore[arg-type]
            link="",
            folder=None,  # type: ignore[arg-type]
            seconds=0.0,
            signal=number,
        ).exit_code
        for number in (0, signal.SIGINT, signal.SIGTERM)
    }
    assert codes == {0: 130, signal.SIGINT: 130, signal.SIGTERM: 143}
