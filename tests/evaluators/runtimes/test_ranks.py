"""Ranks of a sharded model: idle ones sleep, and a lost one ends all with its cause."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunefront.evaluators import Isolation, builtin_catalog
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.runtimes.torch.ranks import RankProcesses
from tunefront.spaces import Configuration, EvaluationError

PROGRAM = """
import os, pathlib, signal, sys, time
from tunefront.evaluators.runtimes.torch.ranks import run_rank
from tunefront.spaces import EvaluationError
folder, rank = pathlib.Path(sys.argv[1]), int(sys.argv[2])

def body(ready):
    {body}

run_rank(folder, rank, body)
"""
WAITS = "ready(); time.sleep(600)"
RAISES = "raise EvaluationError('CUDA out of memory', cause='oom')"
FOLLOWS = "time.sleep(0.5); raise RuntimeError('connection closed by peer')"
DIES = "os.kill(os.getpid(), signal.SIGKILL)"
CRASHES = "os.kill(os.getpid(), signal.SIGSEGV)"

Start = Callable[..., RankProcesses]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts ranks with these bodies."""
    started: list[RankProcesses] = []

    def make(*bodies: str) -> RankProcesses:
        commands = [
            [sys.executable, "-P", "-c", PROGRAM.format(body=body), str(tmp_path), str(rank)]
            for rank, body in enumerate(bodies, 1)
        ]
        started.append(RankProcesses(commands, tmp_path))
        return started[-1]

    yield make
    for one in started:
        one.kill()


@pytest.mark.parametrize(
    ("bodies", "text", "cause"),
    [
        ((RAISES, WAITS), "rank 1: EvaluationError: CUDA out of memory", "oom"),
        ((FOLLOWS, RAISES), "rank 2: EvaluationError: CUDA out of memory", "oom"),
        ((WAITS, DIES), "rank 2 was killed by SIGKILL: out of memory, most likely", "oom"),
        ((CRASHES, WAITS), "rank 1 crashed with SIGSEGV", "crash"),
        (("sys.exit(3)", WAITS), "rank 1: SystemExit: 3", "exception"),
    ],
)
def test_the_first_error_ends_all_ranks(
    start: Start, bodies: tuple[str, ...], text: str, cause: str
) -> None:
    ranks = start(*bodies)
    with pytest.raises(EvaluationError) as raised:
        ranks.wait_until_ready()
    assert (str(raised.value), raised.value.cause) == (text, cause)
    assert ranks.lost
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.pids)


def test_ranks_that_are_told_to_exit_are_not_lost(start: Start) -> None:
    ranks = start("ready(); time.sleep(0.2)")
    ranks.wait_until_ready()
    ranks.expect_end()
    ranks.wait()
    ranks.check()
    assert not ranks.lost


STUCK = """
import pathlib, sys, time
from tunefront.evaluators.runtimes.torch import ranks
ranks.LOST_RANK_S = 0.2
folder = pathlib.Path(sys.argv[1])
command = [sys.executable, "-P", "-c", "import os; os.kill(os.getpid(), 9)"]
processes = ranks.RankProcesses([command], folder)
time.sleep(600)  # a call into a library that waits for the lost rank
"""


def test_a_process_that_waits_for_a_lost_rank_is_ended(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", STUCK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT
    assert done.stderr.splitlines()[-1].startswith("rank 1 was killed by SIGKILL: out of memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharded:
    """What a rank's loss is tried with.

    Attributes:
        model: Folder of the model.
        folder: Folder of the candidate.
        configuration: The configuration.
    """

    model: Path
    folder: Path
    configuration: Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What was seen.

    Attributes:
        idle_cpu_s: CPU seconds of rank 1 in half a second without a request.
        seconds: Seconds from the end of rank 1 to the error.
        text: The error.
        cause: Its cause.
    """

    idle_cpu_s: float
    seconds: float
    text: str
    cause: str


def lose_a_rank(request: Sharded) -> Lost:
    """Open a model in two ranks, leave it idle, kill rank 1, and send a request."""
    import os

    import numpy as np
    import psutil

    from tunefront.evaluators.runtimes.torch.tensor_parallel import WEIGHTS, ShardedEndpoint

    (request.folder / WEIGHTS).symlink_to(request.model)
    endpoint = ShardedEndpoint(request.folder, request.configuration)
    ids = np.ones((2, 4), dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": ids}
    endpoint.call(inputs)
    [pid] = endpoint._others.pids
    times = psutil.Process(pid).cpu_times
    before = times()
    time.sleep(0.5)
    after = times()
    os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    try:
        endpoint.call(inputs)
    except EvaluationError as error:
        return Lost(
            idle_cpu_s=after.user + after.system - before.user - before.system,
            seconds=time.monotonic() - start,
            text=str(error),
            cause=error.cause,
        )
    finally:
        endpoint.close()
    raise AssertionError("rank 0 did not notice that rank 1 is lost")


def test_idle_ranks_use_no_cpu_time_and_a_lost_one_ends_the_step_with_its_cause(
    lm_folder: Path, isolation: Isolation, tmp_path: Path
) -> None:
    configuration = builtin_catalog().complete(
        {"runtime": "torch", "tensor_parallel": 2, "threads": 1}
    )
    task = Task(
        function="tests.evaluators.runtimes.test_ranks:lose_a_rank",
        request=Sharded(model=lm_folder / "model", folder=tmp_path, configuration=configuration),
        result=Lost,
        imports=(),
        log=tmp_path / "log",
        timeout_s=300.0,
    )
    found = isolation.run(task)
    assert found.idle_cpu_s <= 0.1
    assert found.seconds < 10
    assert (found.text, found.cause) == (
        "rank 1 was killed by SIGKILL: out of memory, most likely",
        "oom",
    )
