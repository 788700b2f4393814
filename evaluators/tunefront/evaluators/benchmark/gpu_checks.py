"""Checks of leased GPUs: whether other processes use them, and whether one of them is broken."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.isolation.gpus import set_gpu_aside
from tunefront.evaluators.isolation.process import Isolation, Terms
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.measures.processes import with_descendants
from tunefront.spaces import EvaluationError, FailureCause
from tunefront.spaces.machine.gpu_use import gpu_uses

GPUS_SHARED = "gpu_shared"
"""Name in the machine's state: 1 if another process used a GPU and did not end in time."""
GPU_BUSY = 0.10
"""Share of time in which a GPU works above which it is busy."""
GPU_POLL_S = 0.25
SAMPLE_PERIOD_S = 2.0
"""Seconds after which the driver's sample no longer contains the own work before the wait."""
GPU_PROBE = "tunefront.evaluators.pipelines.gpu_check:check_visible_gpus"
"""The task that multiplies on each GPU that its process sees, as before a search."""
GPU_PROBE_TIMEOUT_S = 120.0
GPU_PROBED_CAUSES: frozenset[FailureCause] = frozenset({"crash", "device", "timeout"})
"""Causes of failures after which the GPUs are probed: a broken GPU shows itself in these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuWait:
    """A wait for GPUs that other processes use.

    Attributes:
        seconds: Seconds waited.
        shared: Whether they were still in use at the end.
    """

    seconds: float = 0.0
    shared: bool = False


def wait_for_gpus(uuids: Sequence[str], own: Sequence[int], limit_s: float) -> GpuWait:
    """Wait while other processes use GPUs, at most `limit_s` seconds.

    A GPU is in use if it works although the own processes sleep. Where process ids are visible, it
    is also necessary that another process has it open.

    Args:
        uuids: Names of the GPUs.
        own: The own processes, which sleep.
        limit_s: Longest wait in seconds; at least `SAMPLE_PERIOD_S`.
    """
    limit_s = max(limit_s, SAMPLE_PERIOD_S)
    start = time.monotonic()
    known = {pid for process in (os.getpid(), *own) for pid in with_descendants(process)}
    while shared := any(_in_use(uuids, known)):
        left = limit_s - (time.monotonic() - start)
        if left <= 0:
            break
        time.sleep(min(GPU_POLL_S, left))
    return GpuWait(seconds=time.monotonic() - start, shared=shared)


def _in_use(uuids: Sequence[str], own: set[int]) -> Iterator[bool]:
    """Yield for each GPU whether other processes use it."""
    for use in gpu_uses(uuids).values():
        visible = bool(use.processes & own)  # the ids are those of this container
        yield use.utilization > GPU_BUSY and not (visible and use.processes <= own)


@contextmanager
def gpus_probed(isolation: Isolation, log: Path) -> Iterator[None]:
    """Probe the leased GPUs if the context fails; see `probed_error`."""
    try:
        yield
    except EvaluationError as error:
        found = probed_error(isolation, log, error)
        if found is error:
            raise
        raise found from error


def probed_error(isolation: Isolation, log: Path, error: EvaluationError) -> EvaluationError:
    """Return the error of a failure on the leased GPUs; with the cause "device" if one is broken.

    After a failure that a broken GPU can cause, each of them runs a small product in a fresh
    process. One on which that fails is set aside.

    Args:
        isolation: Has leased the GPUs.
        log: File for the output of the probes.
        error: The failure.
    """
    if error.cause not in GPU_PROBED_CAUSES:
        return error
    broken: list[str] = []
    with isolation.on_terms(Terms()):  # a deadline would end the probe as well
        for uuid in isolation.devices:
            if problem := _problem(isolation, uuid, log):
                set_gpu_aside(uuid, problem)
                broken.append(f"{uuid} was set aside, since a probe failed on it: {problem}")
    if not broken:
        return error
    return EvaluationError("; ".join([*broken, f"the failure was: {error}"]), cause="device")


def _problem(isolation: Isolation, uuid: str, log: Path) -> str:
    """Return why a GPU can't be used; empty if it can."""
    task = Task(
        function=GPU_PROBE,
        request={"expected": 1},
        result=dict[str, tuple[str, ...]],
        imports=("torch",),
        log=log,
        timeout_s=GPU_PROBE_TIMEOUT_S,
        devices=(uuid,),
    )
    try:
        return "; ".join(isolation.run(task)["problems"])
    except EvaluationError as error:
        return str(error)
