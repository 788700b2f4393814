"""Trials whose steps go wrong: what a worker does, and what happens in its fresh processes.

The plan (`faults.json` in the search's folder) says which fault strikes which trial at which stage;
everything else is the real path.
"""

import ctypes
import json
import os
import signal
import subprocess
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
HANG_S = 4.0
"""When the step that hangs counts as hung; all others may take their time."""
ONCE = ("fills the disk", "dies once")
"""Faults that are gone when the trial runs again."""
SECRET_SLEEP = "7777"
"""Of a grandchild, in seconds; a name by which tests find it."""


class Faulty(Isolation):
    """The worker's isolation, but one step of the trial does something else first."""

    def __init__(self, stage: str, fault: str) -> None:
        super().__init__()
        self._stage = stage
        self._fault = fault

    @contextmanager
    def start(
        self, task: Task[ResultT], monitor: Monitor | None = None
    ) -> Iterator[Child[ResultT]]:
        if task.function == TASK_OF[self._stage]:
            struck = Struck(
                stage=self._stage,
                fault=self._fault,
                function=task.function,
                request=to_plain(task.request),
                folder=getattr(task.request, "folder", Path()),
            )
            task = replace(task, function="tests.faults.bodies:strike", request=struck)
        with _undisturbed().start(task, monitor) as child:
            yield child


@cache
def _undisturbed() -> Isolation:
    """Of this worker, for trials that nothing strikes."""
    return Isolation()


def trial(job: Job) -> Evaluation:
    """Evaluate for real, with the planned fault."""
    folder = job.folder
    plan = json.loads((folder / "faults.json").read_text())
    stage, fault = plan.get(str(job.number), ("", ""))
    mark = folder / f"struck-{job.number}"
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
class Struck:
    """A task of a trial and the fault that strikes it."""

    stage: str
    fault: str
    function: str
    request: Mapping[str, Any]
    folder: Path


def strike(struck: Struck) -> Any:
    """A task in its fresh process, struck."""
    from tunefront.evaluators.pipelines.tasks import build

    fault = FAULTS[struck.fault]
    if struck.stage == "model":
        setattr(build, "apply_techniques", lambda *given: fault(struck.folder))  # noqa: B010
    elif struck.stage == "runtime":
        _strike_runtimes(fault)
    else:
        fault(struck.folder)
    return run_plain(struck.function, struck.request)


def _strike_runtimes(fault: Callable[[Path], None]) -> None:
    """Half of a candidate is written when the fault strikes."""
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
    """Holding the interpreter's lock."""
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
    subprocess.Popen(["sleep", SECRET_SLEEP], start_new_session=True)
    raise ValueError("left a child behind")


def _leaves_shared_memory(folder: Path) -> None:
    """As a library does whose process is killed."""
    Path(f"/dev/shm/torch_{os.getpid()}_struck").write_bytes(b"x" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)


def _chatters(folder: Path) -> None:
    """What looks like the protocol, and what is no text at all: none of it matters."""
    print('{"id": 0, "status": 0}')
    os.write(1, b"\xff\xfe garbage\n" * 100)


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
}
