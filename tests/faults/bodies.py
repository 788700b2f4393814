"""Trials with planned faults: what a worker does, and what happens in its fresh processes.

The plan (`faults.json` in the search's folder) says which fault occurs at which stage of which
trial; everything else is the real path.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tunefront.evaluators import Evaluation, Isolation, Timeouts, builtin_catalog, evaluate
from tunefront.evaluators.isolation.call import run_plain
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.isolation.interim import Monitor
from tunefront.evaluators.isolation.process import Child
from tunefront.evaluators.isolation.task import ResultT, Task
from tunefront.search.cluster.jobs import Job

BUILD = "tunefront.evaluators.pipelines.tasks.build:build"
TASK_OF = {
    "model": BUILD,
    "runtime": BUILD,
    "quality": "tunefront.evaluators.pipelines.tasks.quality:write_candidate_quality",
    "execution": "tunefront.evaluators.pipelines.tasks.measure:measure",
}
TIMEOUT_OF = {
    "model": "build_s",
    "runtime": "build_s",
    "quality": "quality_s",
    "execution": "measure_s",
}
HANG_S = 1.5
"""Timeout of the step that hangs; that of the others is long."""
ONCE = ("fills the disk", "dies once")
"""Faults that do not occur when the trial runs again."""
GRANDCHILD_SLEEP = "7777"
"""Seconds that a grandchild sleeps, by which tests find it."""


class Faulty(Isolation):
    """The worker's isolation, with a fault in one step of the trial."""

    def __init__(self, stage: str, fault: str) -> None:
        super().__init__()
        self._stage = stage
        self._fault = fault

    @contextmanager
    def start(
        self, task: Task[ResultT], monitor: Monitor | None = None
    ) -> Iterator[Child[ResultT]]:
        if task.function == TASK_OF[self._stage]:
            faulty = FaultyTask(
                stage=self._stage,
                fault=self._fault,
                function=task.function,
                request=to_plain(task.request),
                folder=getattr(task.request, "folder", Path()),
            )
            task = replace(task, function="tests.faults.bodies:run_with_fault", request=faulty)
        with _undisturbed().start(task, monitor) as child:
            yield child


@cache
def _undisturbed() -> Isolation:
    """Return this worker's isolation, for trials without a fault."""
    return Isolation()


def trial(job: Job) -> Evaluation:
    """Evaluate for real, with the planned fault."""
    folder = job.folder
    plan = json.loads((folder / "faults.json").read_text())
    stage, fault = plan.get(str(job.number), ("", ""))
    mark = folder / f"started-{job.number}"
    if fault in ONCE and mark.exists():
        stage = ""
    mark.touch()
    if stage == "worker":
        os.kill(os.getpid(), signal.SIGKILL)
    settings = job.settings
    if stage in ("model", "runtime", "quality"):  # made here, not found in the store
        settings = replace(settings, store=str(folder / "stores" / str(job.number)))
    if not stage:  # the first one of a worker waits for imports
        settings = replace(settings, timeouts=Timeouts())
    if fault.startswith("hangs"):
        hasty = replace(settings.timeouts, **{TIMEOUT_OF[stage]: HANG_S})
        settings = replace(settings, timeouts=hasty)
    isolation = Faulty(stage, fault) if stage else _undisturbed()
    log = folder / "logs" / f"{job.number:05}.log"
    return evaluate(settings, builtin_catalog().complete(job.configuration), isolation, log)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyTask:
    """A task of a trial and its fault."""

    stage: str
    fault: str
    function: str
    request: Mapping[str, Any]
    folder: Path


def run_with_fault(task: FaultyTask) -> Any:
    """Run a task in its fresh process, with its fault."""
    from tunefront.evaluators.pipelines.tasks import build

    fault = FAULTS[task.fault]
    if task.stage == "model":
        setattr(build, "apply_techniques", lambda *given: fault(task.folder))  # noqa: B010
    elif task.stage == "runtime":
        _add_to_runtime(fault)
    else:
        fault(task.folder)
    return run_plain(task.function, task.request)


def _add_to_runtime(fault: Callable[[Path], None]) -> None:
    """Let the fault occur when half of a candidate is written."""
    from tunefront.evaluators import builtin_catalog

    runtime: Any = builtin_catalog().provided("runtime", "torch")
    real = runtime.build

    def build(self: Any, source: Any, configuration: Any, folder: Path) -> Any:
        found = real(self, source, configuration, folder)
        (folder / "half").write_bytes(b"x" * 1000)
        fault(folder)
        return found

    setattr(runtime, "build", build)  # noqa: B010


def _raises(folder: Path) -> None:
    raise ValueError("something unexpected")


def _segfaults(folder: Path) -> None:
    ctypes.string_at(0)


def _aborts(folder: Path) -> None:
    os.abort()


def _is_killed(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _leaves(folder: Path) -> None:
    os._exit(3)


def _hangs(folder: Path) -> None:
    time.sleep(600)


def _hangs_in_c(folder: Path) -> None:
    """Sleep with the interpreter's lock."""
    ctypes.PyDLL(None).sleep(600)


def _eats_memory(folder: Path) -> None:
    blocks = []
    while True:
        blocks.append(bytearray(256 * 2**20))


def _eats_torch_memory(folder: Path) -> None:
    import torch

    blocks = []
    while True:
        blocks.append(torch.ones(64 * 2**20))


def _fills_the_disk(folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        full.write(b"x" * 10_000)


def _leaves_a_grandchild(folder: Path) -> None:
    subprocess.Popen(["sleep", GRANDCHILD_SLEEP], start_new_session=True)
    raise ValueError("left a child behind")


def _leaves_shared_memory(folder: Path) -> None:
    """Leave a segment, as a library whose process is killed."""
    Path(f"/dev/shm/torch_{os.getpid()}_fault").write_bytes(b"x" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)


def _chatters(folder: Path) -> None:
    """Print what looks like the protocol, and bytes that are no text."""
    print('{"id": 0, "status": 0}')
    os.write(1, b"\xff\xfe garbage\n" * 100)


def _raises_odd_words(folder: Path) -> None:
    """Raise what a file name that is no text becomes, with an escape sequence, much too long."""
    raise ValueError("odd \udcff \x1b[31m" + "x" * 5_000_000)


class Wordless(Exception):
    """An error whose text can't be read."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def _raises_without_words(folder: Path) -> None:
    raise Wordless


def _hangs_suspended(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _ends_the_fork_server(folder: Path) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def _removes_its_folder(folder: Path) -> None:
    """Remove the folder for temporary files, in which the result would be written."""
    shutil.rmtree(Path(tempfile.gettempdir()).parent)


FAULTS: Mapping[str, Callable[[Path], None]] = {
    "raises": _raises,
    "segfaults": _segfaults,
    "aborts": _aborts,
    "is killed": _is_killed,
    "leaves": _leaves,
    "hangs": _hangs,
    "hangs in C": _hangs_in_c,
    "eats memory": _eats_memory,
    "eats torch's memory": _eats_torch_memory,
    "fills the disk": _fills_the_disk,
    "fills the disk for ever": _fills_the_disk,
    "leaves a grandchild": _leaves_a_grandchild,
    "leaves shared memory": _leaves_shared_memory,
    "chatters": _chatters,
    "raises odd words": _raises_odd_words,
    "raises without words": _raises_without_words,
    "hangs suspended": _hangs_suspended,
    "ends the fork server": _ends_the_fork_server,
    "removes its folder": _removes_its_folder,
}
