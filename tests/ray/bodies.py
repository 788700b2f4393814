"""What trials of these tests do in their workers, instead of evaluating."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunefront.evaluators import Evaluation, Measurement


def answer(**facts: object) -> Evaluation:
    measurements = {
        "throughput": Measurement.exact(10.0, "items/s"),
        "perplexity": Measurement.exact(5.0, ""),
    }
    return Evaluation(status="ok", measurements=measurements, facts=facts)


def says_where(job: Mapping[str, Any]) -> Evaluation:
    """When and on which devices it ran; long enough that trials which may run together do."""
    start = time.time()
    time.sleep(2.0)
    return answer(start=start, end=time.time(), devices=os.environ.get("CUDA_VISIBLE_DEVICES", ""))


def meets_three_others(job: Mapping[str, Any]) -> Evaluation:
    """All but the baseline wait for one another: they end only if four run at once."""
    start = time.time()
    wait_for_others(job, 4)
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return answer(start=start, end=time.time(), devices=devices, niceness=os.nice(0))


def meets_another(job: Mapping[str, Any]) -> Evaluation:
    """On which node it ran; all but the baseline end only if two run at once."""
    import ray

    wait_for_others(job, 2)
    return answer(node=ray.get_runtime_context().get_node_id())


def wait_for_others(job: Mapping[str, Any], count: int) -> None:
    """Until so many trials beside the baseline have begun; the baseline waits for nobody."""
    start = time.time()
    if job["number"]:
        folder = Path(job["folder"], "met")
        folder.mkdir(exist_ok=True)
        (folder / str(job["number"])).touch()
        while len(list(folder.iterdir())) < count:
            if time.time() - start > 60:
                raise TimeoutError("the others never came")
            time.sleep(0.05)


def quick(job: Mapping[str, Any]) -> Evaluation:
    """Nothing but an answer, and a mark that it ran."""
    with Path(job["folder"], "ran.txt").open("a") as log:
        log.write(f"{job['number']} {job['configuration']}\n")
    return answer()


def fails(job: Mapping[str, Any]) -> Evaluation:
    """A baseline that can't be built."""
    return Evaluation(status="failed", cause="unsupported", stage="build", message="no such kernel")


def dies_on_batch_2(job: Mapping[str, Any]) -> Evaluation:
    """The worker itself is gone."""
    if job["configuration"].get("batch_size") == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return quick(job)


def raises_on_batch_2(job: Mapping[str, Any]) -> Evaluation:
    """An error of ours, outside every step."""
    if job["configuration"].get("batch_size") == 2:
        raise RuntimeError("a bug of ours")
    return quick(job)


def is_not_a_number_on_batch_2(job: Mapping[str, Any]) -> Evaluation:
    """A figure that must not enter a ranking."""
    found = quick(job)
    if job["configuration"].get("batch_size") == 2:
        unknown = Measurement.exact(float("nan"), "items/s")
        return replace(found, measurements={**found.measurements, "throughput": unknown})
    return found
