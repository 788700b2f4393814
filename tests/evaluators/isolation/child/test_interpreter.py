"""Tasks that use GPUs run in fresh interpreters, which nothing outside can tell from forks."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators.isolation.child.environment import (
    NO_GPU,
    interpreter_environment,
    server_environment,
)
from tunefront.evaluators.isolation.process import Isolation, Terms, last_lines
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.store.store import cache_folder
from tunefront.spaces import EvaluationError, WorkloadError

HERE = Path(__file__).parents[2]
DEVICES = ("GPU-made-up-0", "GPU-made-up-1")


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    """The functions are found beside this file's folder."""
    with pytest.MonkeyPatch.context() as patch:
        before = os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(HERE), before])))
        found = Isolation()
        yield found
        found.close()


@pytest.fixture
def task(tmp_path: Path) -> Task[dict[str, Any]]:
    return Task(
        function="fresh:describe",
        request={},
        result=dict,
        imports=("gc:enable", "colorsys"),
        needs=("chunk_that_is_missing", "mailcap_that_is_missing", "colorsys"),
        log=tmp_path / "log",
        timeout_s=30,
        devices=DEVICES,
    )


def test_a_task_on_gpus_runs_in_an_interpreter_of_its_own(
    isolation: Isolation, task: Task[dict[str, Any]], tmp_path: Path
) -> None:
    core = min(os.sched_getaffinity(0))
    paths = (str(tmp_path / "extension"),)
    found = isolation.run(
        replace(task, cores=[core], environment={"SET_FOR_IT": "yes"}, paths=paths)
    )
    forked = isolation.run(replace(task, devices=()))
    assert found["program"].endswith("child/interpreter.py")
    assert forked["program"].endswith("forkserver.py")
    assert found["visible"] == "GPU-made-up-0,GPU-made-up-1"
    assert found["order"] == "PCI_BUS_ID"
    assert found["by_nvml"] is None
    assert (forked["visible"], forked["by_nvml"]) == ("", "1")
    assert found["cores"] == [core]
    assert found["set"] == "yes"
    assert found["colorsys"]
    assert found["path"] == paths[0]
    assert found["leads_its_group"] and forked["leads_its_group"]
    assert found["core_limit"] == [0, 0]
    assert not Path(found["folder"]).exists()
    assert found["folder"] == found["temporary"]
    assert (found["threads"], forked["threads"]) == ("1", "1")
    assert found["triton"] == str(cache_folder() / "triton")


@pytest.mark.parametrize(
    ("name", "cause", "message"),
    [
        ("raises", "exception", "something unexpected"),
        ("refuses", "unsupported", "no such kernel"),
        ("segfaults", "crash", "crashed with SIGSEGV"),
        ("aborts_without_memory", "oom", "crashed with SIGABRT"),
        ("aborts", "crash", "crashed with SIGABRT"),
        ("is_killed", "oom", "killed by SIGKILL"),
        ("leaves", "crash", "ended with exit code 3 and no result"),
        ("is_vague", "oom", "API call failed"),
    ],
)
def test_it_fails_as_a_fork_does(
    isolation: Isolation, task: Task[dict[str, Any]], name: str, cause: str, message: str
) -> None:
    for devices in (DEVICES, ()):
        task.log.unlink(missing_ok=True)
        failing = replace(task, function=f"fresh:{name}", devices=devices)
        with pytest.raises(EvaluationError, match=message) as caught:
            isolation.run(failing)
        assert caught.value.cause == cause


def test_the_user_s_data_at_fault_is_told_apart(
    isolation: Isolation, task: Task[dict[str, Any]]
) -> None:
    with pytest.raises(WorkloadError, match="row 3 is bad"):
        isolation.run(replace(task, function="fresh:blames_the_data"))


def test_an_import_that_fails_is_the_task_s_error(
    isolation: Isolation, task: Task[dict[str, Any]]
) -> None:
    with pytest.raises(EvaluationError, match="ModuleNotFoundError: No module named 'missing_one'"):
        isolation.run(replace(task, imports=("missing_one",)))


def test_its_time_begins_after_its_imports(
    isolation: Isolation, task: Task[dict[str, Any]]
) -> None:
    slow = replace(task, imports=("fresh:sleep_a_second",), timeout_s=0.9)
    assert isolation.run(slow)["visible"] == ",".join(DEVICES)
    with isolation.start(replace(slow, function="fresh:hangs")) as child:
        child.wait_until_started()
        started = time.monotonic()
        with pytest.raises(EvaluationError, match=r"not done after 0\.9 s") as caught:
            child.result()
    assert caught.value.cause == "timeout"
    assert time.monotonic() - started >= 0.9


def test_it_ends_at_the_deadline_with_its_group(
    isolation: Isolation, task: Task[dict[str, Any]]
) -> None:
    with (
        isolation.on_terms(Terms(deadline=time.monotonic() + 1.5)),
        pytest.raises(EvaluationError) as caught,
    ):
        isolation.run(replace(task, function="fresh:leaves_a_child_and_hangs"))
    assert caught.value.cause == "timeout"
    left = [int(line) for line in last_lines(task.log) if line.isdigit()]
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() and _runs(pid) for pid in left):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ranks_share_the_gpus_out(isolation: Isolation, task: Task[dict[str, Any]]) -> None:
    """The result is that of rank 0, and rank 1 writes what it sees to the log."""
    found = isolation.run(replace(task, processes=2))
    assert (found["visible"], found["rank"]) == ("GPU-made-up-0", "0")
    assert "rank 1 sees GPU-made-up-1" in last_lines(task.log)


def test_the_environment_of_a_server_hides_gpus_and_that_of_an_interpreter_is_the_user_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "0")
    server = server_environment()
    assert {name: server[name] for name in NO_GPU} == NO_GPU
    assert server["TORCHINDUCTOR_COMPILE_THREADS"] == "1"
    own = interpreter_environment({"CUDA_VISIBLE_DEVICES": "GPU-x"}, 3)
    assert own["CUDA_VISIBLE_DEVICES"] == "GPU-x"
    assert own["PYTORCH_NVML_BASED_CUDA_CHECK"] == "0"
    assert own["TORCHINDUCTOR_COMPILE_THREADS"] == "3"
    assert interpreter_environment({}, 0)["TORCHINDUCTOR_COMPILE_THREADS"] == "1"
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "7")
    monkeypatch.setenv("TRITON_CACHE_DIR", "own")
    assert server_environment()["TORCHINDUCTOR_COMPILE_THREADS"] == "7"
    own = interpreter_environment({}, 3)
    assert (own["TORCHINDUCTOR_COMPILE_THREADS"], own["TRITON_CACHE_DIR"]) == ("7", "own")
    assert sys.executable


def test_threads_sleep_at_barriers_where_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert server_environment(timed=False)["GOMP_SPINCOUNT"] == "0"
    assert "GOMP_SPINCOUNT" not in server_environment(timed=True)
    monkeypatch.setenv("GOMP_SPINCOUNT", "infinite")
    for timed in (False, True):
        assert server_environment(timed=timed)["GOMP_SPINCOUNT"] == "infinite"
