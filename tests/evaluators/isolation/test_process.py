"""A step can do anything, and only that step is lost."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.isolation import process as isolation
from tunefront.evaluators.isolation.preload import open_imports
from tunefront.evaluators.isolation.process import (
    KEPT_LOG_BYTES,
    Child,
    Isolation,
    Terms,
    cut_log,
    last_lines,
)
from tunefront.evaluators.isolation.shared_memory import SHARED_MEMORY_FOLDER as SHARED_MEMORY
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.store.store import Store
from tunefront.spaces import EvaluationError, WorkloadError

HERE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Written:
    """A request that names the folder that its task writes to."""

    folder: Path


@pytest.fixture(scope="module")
def slim() -> Iterator[Isolation]:
    """Its fork server imports no framework; the faulty steps are found beside this file."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), before]))
    found = Isolation()
    found.warm(open_imports(builtin_catalog(), "onnxruntime"))
    yield found
    found.close()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def task(tmp_path: Path, slim: Isolation) -> Task[dict[str, Any]]:
    """One that goes well."""
    return Task(
        function="faulty:fine",
        request={"number": 21},
        result=dict,
        imports=open_imports(builtin_catalog(), "onnxruntime"),
        log=tmp_path / "log",
        timeout_s=30,
    )


def test_modules_in_the_working_folder_are_not_imported(
    tmp_path: Path, task: Task[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's `queue.py` neither runs nor hides Python's."""
    for name in ("queue", "statistics", "numpy"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'w')\nraise KeyError"
        )
    monkeypatch.chdir(tmp_path)
    isolation = Isolation()
    try:
        assert isolation.run(task)["doubled"] == 42
    finally:
        isolation.close()
    assert not (tmp_path / "ran").exists()


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def checked(child: Child[dict[str, Any]], within_s: float = 30.0) -> None:
    """Check until the child is gone, which raises."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        child.check()
        time.sleep(0.02)


def test_a_step_returns_its_result_from_a_fresh_process(
    slim: Isolation, task: Task[dict[str, Any]]
) -> None:
    first, second = slim.run(task), slim.run(task)
    assert first["doubled"] == 42
    assert len({first["pid"], second["pid"], os.getpid()}) == 3


def test_a_step_gets_cores_environment_and_a_folder_of_its_own(
    slim: Isolation, task: Task[dict[str, Any]]
) -> None:
    core = min(os.sched_getaffinity(0))
    found = slim.run(replace(task, cores=[core], environment={"SET_FOR_IT": "yes"}))
    assert found["cores"] == [core]
    assert found["set"] == "yes"
    assert not Path(found["folder"]).exists()


def test_threads_spin_only_where_candidates_are_timed(
    slim: Isolation, task: Task[dict[str, Any]]
) -> None:
    own = os.environ.get("GOMP_SPINCOUNT")
    assert slim.run(task)["spins"] == own
    assert slim.run(replace(task, imports=("json",)))["spins"] == (own or "0")


def test_a_slim_kit_has_nothing_else_imported(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    assert slim.run(task)["modules"] == ["onnxruntime"]


@pytest.mark.parametrize(
    ("name", "cause", "message"),
    [
        ("raises", "exception", "something unexpected"),
        ("refuses", "unsupported", "no such kernel"),
        ("segfaults", "crash", "crashed with SIGSEGV"),
        ("aborts", "crash", "crashed with SIGABRT"),
        ("is_killed", "oom", "killed by SIGKILL"),
        ("leaves", "crash", "ended with exit code 3 and no result"),
    ],
)
def test_a_failure_has_its_cause_and_the_next_step_runs(
    slim: Isolation, task: Task[dict[str, Any]], name: str, cause: str, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        slim.run(replace(task, function=f"faulty:{name}"))
    assert caught.value.cause == cause
    assert slim.run(task)["doubled"] == 42


def test_the_user_s_data_at_fault_is_told_apart(
    slim: Isolation, task: Task[dict[str, Any]]
) -> None:
    with pytest.raises(WorkloadError, match="row 3 is bad"):
        slim.run(replace(task, function="faulty:blames_the_data"))


def test_a_hang_is_ended(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    with pytest.raises(EvaluationError, match=r"not done after 0\.5 s") as caught:
        slim.run(replace(task, function="faulty:hangs", timeout_s=0.5))
    assert caught.value.cause == "timeout"
    assert slim.run(task)["doubled"] == 42


def test_the_imports_of_a_fork_server_are_not_the_step_s_time(
    task: Task[dict[str, Any]], tmp_path: Path
) -> None:
    child = Child(task, tmp_path, 900.0)
    assert child._deadline(100.0) == 1000.0
    child._note(0, {"pid": 1, "started": False})
    assert child._started_at is None
    child._note(0, {"pid": 1, "started": True})
    assert child._started_at is not None
    assert child._deadline(100.0) == child._started_at + task.timeout_s
    later = child._started_at + 50.0
    assert child._deadline(later) == later + task.timeout_s


def test_imports_without_end_are_named(task: Task[dict[str, Any]], tmp_path: Path) -> None:
    told = "its libraries were not imported after 0 s"
    for wait in (Child(task, tmp_path, 0.0).result, Child(task, tmp_path, 0.0).wait_until_started):
        with pytest.raises(EvaluationError, match=told) as found:
            wait()
        assert found.value.cause == "timeout"


def test_the_start_of_a_step_is_waited_for(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    with slim.start(replace(task, function="faulty:hangs")) as child:
        child.wait_until_started()
        assert child._started_at is not None


def test_steps_end_at_the_deadline(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    """The step itself may take half a minute."""
    slim.run(task)
    with (
        slim.on_terms(Terms(deadline=time.monotonic() + 0.5)),
        pytest.raises(EvaluationError, match="not done after 0") as found,
    ):
        slim.run(replace(task, function="faulty:hangs"))
    assert found.value.cause == "timeout"
    assert slim.within(30.0) == 30.0


def test_too_much_memory_is_refused_and_named(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    with pytest.raises(EvaluationError) as caught:
        slim.run(replace(task, function="faulty:eats_memory", memory_mb=512))
    assert caught.value.cause == "oom"


def test_a_grandchild_does_not_survive(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    found = slim.run(replace(task, function="faulty:leaves_a_grandchild"))
    assert gone(found["grandchild"])


def test_processes_below_a_grandchild_do_not_survive(
    slim: Isolation, task: Task[dict[str, Any]]
) -> None:
    found = slim.run(replace(task, function="faulty:leaves_a_tree"))
    assert [gone(pid) for pid in found["tree"]] == [True, True]


def test_a_server_does_not_survive_its_step(
    slim: Isolation, task: Task[dict[str, Any]], tmp_path: Path
) -> None:
    request = {"folder": str(tmp_path)}
    with pytest.raises(EvaluationError, match="killed by SIGKILL"):
        slim.run(replace(task, function="faulty:is_killed_with_a_server", request=request))
    assert [gone(int((tmp_path / name).read_text())) for name in ("server", "worker")] == [True] * 2


def test_garbage_on_stdout_goes_to_the_log(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    found = slim.run(replace(task, function="faulty:chatters"))
    assert found["fine"]
    lines = last_lines(task.log)
    assert lines[-1] == "last words"
    assert last_lines(task.log, count=1) == ["last words"]
    assert last_lines(task.log.with_name("missing")) == []


def test_nothing_stays_in_the_temporary_folder(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    found = slim.run(replace(task, function="faulty:fills_its_folder"))
    assert found["exists"]
    assert not Path(found["file"]).exists()


def test_a_log_is_cut_to_its_end(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    slim.run(replace(task, function="faulty:writes_much", request={"bytes": 2 * KEPT_LOG_BYTES}))
    assert task.log.stat().st_size == KEPT_LOG_BYTES
    assert last_lines(task.log)[-2:] == ["x" * 999, "the end"]
    slim.run(replace(task, function="faulty:chatters"))
    assert task.log.stat().st_size == KEPT_LOG_BYTES
    assert last_lines(task.log)[-1] == "last words"


def test_a_log_that_is_short_stays_whole(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    slim.run(replace(task, function="faulty:writes_much", request={"bytes": 5000}))
    assert task.log.stat().st_size == 5000 + len("the end\n")


def test_whoever_writes_to_a_log_that_is_cut_goes_on_at_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("a") as stream:
        stream.write("x" * 100)
        stream.flush()
        cut_log(log, kept=10)
        stream.write("y" * 5)
    assert log.read_text() == "x" * 10 + "y" * 5
    cut_log(tmp_path / "missing")


@pytest.mark.parametrize("waits", [Child.result, checked])
def test_a_step_that_writes_without_end_is_ended(
    slim: Isolation,
    task: Task[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    waits: Callable[[Child[dict[str, Any]]], object],
) -> None:
    """Whether its result or its turn is waited for."""
    monkeypatch.setattr(isolation, "MOST_LOG_BYTES", 2**20)
    written = {"bytes": 2 * 2**20, "hang_s": 300}
    chatty = replace(task, function="faulty:writes_much", request=written)
    with (
        pytest.raises(EvaluationError, match=r"wrote more than 1 MB to its log; its end is in /"),
        slim.start(chatty) as child,
    ):
        waits(child)
    assert task.log.stat().st_size == KEPT_LOG_BYTES
    assert slim.run(task)["doubled"] == 42


def test_a_step_leaves_no_core(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    assert slim.run(replace(task, function="faulty:tells_its_limits"))["core"] == [0, 0]


def test_a_full_disk_is_the_cause_and_half_a_product_is_gone(
    slim: Isolation, task: Task[dict[str, Any]], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")

    def make(folder: Path) -> None:
        slim.run(replace(task, function="faulty:finds_no_room", request=Written(folder=folder)))

    with pytest.raises(EvaluationError, match="No space left on device") as caught:
        store.get_or_make("k" * 32, make)
    assert caught.value.cause == "disk full"
    assert list(store.path("k" * 32).parent.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("is_vague_about_a_failure", "disk full"),
        ("leaves", "disk full"),
        ("segfaults", "disk full"),
        ("refuses", "disk full"),
        ("is_killed", "oom"),
    ],
)
def test_where_a_disk_has_no_room_left_it_explains_what_a_library_does_not(
    slim: Isolation,
    task: Task[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    cause: str,
) -> None:
    looked: list[Path] = []

    def full(folders: Iterable[Path]) -> Path:
        looked.extend(folders)
        return tmp_path

    monkeypatch.setattr(isolation, "full_folder", full)
    failing = replace(task, function=f"faulty:{name}", request=Written(folder=tmp_path))
    with pytest.raises(EvaluationError) as caught:
        slim.run(failing)
    assert caught.value.cause == cause
    if cause == "disk full":
        assert str(caught.value).startswith(f"no room left in {tmp_path}: ")
        assert {tmp_path, task.log.parent} < set(looked)


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no shared memory here")
@pytest.mark.parametrize("end", ["killed", "well"])
def test_nothing_of_a_step_stays_in_shared_memory(
    slim: Isolation, task: Task[dict[str, Any]], end: str
) -> None:
    mark = f"tunefront_{os.getpid()}_{time.monotonic_ns()}"
    names = {"ours": f"psm_{mark}", "other": f"else_{mark}"}
    leaving = replace(task, function="faulty:leaves_shared_memory", request={**names, "end": end})
    ours, other = (SHARED_MEMORY / name for name in names.values())
    try:
        with pytest.raises(EvaluationError) if end == "killed" else nullcontext():
            slim.run(leaving)
        assert not ours.exists()
        assert other.exists()
    finally:
        other.unlink(missing_ok=True)


def test_steps_run_side_by_side(slim: Isolation, task: Task[dict[str, Any]]) -> None:
    """The second one answers while the first one hangs, and the first one is killed at the end."""
    with slim.start(replace(task, function="faulty:says_who_it_is_and_hangs")) as hanging:
        hung = int(written(task.log))
        with slim.start(task) as fine:
            assert fine.result()["doubled"] == 42
        hanging.check()
        assert alive(hung)
    assert gone(hung)


def written(log: Path, within_s: float = 30.0) -> str:
    """The first line of a log, once there is one."""
    deadline = time.monotonic() + within_s
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return log.read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("name", "cause", "message"),
    [
        ("fine", "crash", "ended before its turn"),
        ("refuses", "unsupported", "no such kernel"),
        ("segfaults", "crash", "crashed with SIGSEGV"),
        ("is_killed", "oom", "killed by SIGKILL"),
    ],
)
def test_a_look_finds_out_that_a_step_has_ended(
    slim: Isolation, task: Task[dict[str, Any]], name: str, cause: str, message: str
) -> None:
    with (
        slim.start(replace(task, function=f"faulty:{name}")) as child,
        pytest.raises(EvaluationError, match=message) as caught,
    ):
        checked(child)
    assert caught.value.cause == cause


def test_a_look_at_a_step_under_way_finds_nothing(
    slim: Isolation, task: Task[dict[str, Any]]
) -> None:
    with slim.start(replace(task, function="faulty:says_who_it_is_and_hangs")) as child:
        written(task.log)
        for _ in range(5):
            child.check()
        child.end()
        child.end()


def test_a_step_whose_fork_server_ends_is_lost(task: Task[dict[str, Any]]) -> None:
    isolation = Isolation()
    try:
        with isolation.start(replace(task, function="faulty:hangs")) as child:
            server: Any = isolation._servers[open_imports(builtin_catalog(), "onnxruntime")]
            server._process.kill()
            with pytest.raises(EvaluationError, match="fork server ended") as caught:
                child.result()
        assert caught.value.cause == "crash"
    finally:
        isolation.close()


def test_a_fork_server_that_was_killed_is_started_again(task: Task[dict[str, Any]]) -> None:
    isolation = Isolation()
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), before]))
    try:
        isolation.run(task)
        server: Any = isolation._servers[open_imports(builtin_catalog(), "onnxruntime")]
        server._process.kill()
        server._process.wait()
        assert isolation.run(task)["doubled"] == 42
    finally:
        isolation.close()
        os.environ["PYTHONPATH"] = before


def test_children_end_with_whoever_started_them(task: Task[dict[str, Any]]) -> None:
    import subprocess

    program = f"""
import sys, threading, time
from pathlib import Path
from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.isolation.preload import open_imports
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task
isolation = Isolation()
imports = open_imports(builtin_catalog(), "onnxruntime")
task = Task(function="faulty:hangs", request={{}}, result=dict,
            imports=imports, log=Path({str(task.log)!r}), timeout_s=300)
threading.Thread(target=lambda: isolation.run(task), daemon=True).start()
while not isolation._servers:
    time.sleep(0.05)
time.sleep(3)
print(isolation._servers[imports]._process.pid, flush=True)
time.sleep(300)
"""
    before = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), before]))}
    driver = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert driver.stdout is not None
    server = int(driver.stdout.readline())
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    assert children
    driver.kill()
    driver.wait()
    driver.stdout.close()
    assert gone(server)
    assert all(gone(int(child)) for child in children)
