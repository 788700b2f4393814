"""Functions of tasks with several processes; run by test_task.py in fresh processes."""

import os
import signal
import time
from pathlib import Path

from tests.evaluators.isolation.test_task import Given, Rank, Trained

from tunefront.evaluators import Measurement
from tunefront.evaluators.isolation.interim import Interim, report_interim
from tunefront.spaces import EvaluationError, WorkloadError


def meet(given: Given) -> Rank:
    """Wait until all processes are there, or fail."""
    rank = int(os.environ["RANK"])
    if rank == given.fails:
        fail(rank, given.how)
    folder = Path(os.environ["TUNEFRONT_RENDEZVOUS"]).parent
    (folder / f"met-{rank}").touch()
    while len(met := sorted(folder.glob("met-*"))) < int(os.environ["WORLD_SIZE"]):
        time.sleep(0.01)
    return found(tuple(path.name.removeprefix("met-") for path in met))


def alone(given: Given) -> Rank:
    return found(())


def found(others: tuple[str, ...]) -> Rank:
    return Rank(
        rank=os.environ.get("RANK", ""),
        size=os.environ.get("WORLD_SIZE", ""),
        local=os.environ.get("LOCAL_RANK", ""),
        others=others,
        cores=tuple(sorted(os.sched_getaffinity(0))),
    )


def fail(rank: int, how: str) -> None:
    if how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "refuses":
        raise EvaluationError("no such kernel", cause="unsupported")
    if how == "blames the data":
        raise WorkloadError("data: row 3 is bad")
    raise ValueError(f"rank {rank} has no data")


def train(given: Given) -> Trained:
    """Report a loss at every step until the decision is to stop."""
    for step in range(1, given.steps + 1):
        loss = Measurement.exact(1 / step, "")
        decision = report_interim(Interim(step=step, measurements={"loss": loss}))
        if decision.stop:
            print(f"stopped at {step}", flush=True)
            return Trained(steps=step, reason=decision.reason)
    return Trained(steps=given.steps, reason="")


def dies_in_training(given: Given) -> Trained:
    """Rank 0 is killed before its second report."""
    report_interim(Interim(step=1, measurements={}))
    if os.environ["RANK"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    report_interim(Interim(step=2, measurements={}))
    return Trained(steps=given.steps, reason="")
