"""What trials of these tests do in their workers, instead of evaluating."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunefront.evaluators import Evaluation, Measurement
from tunefront.evaluators.isolation.gpus import lease_gpus
from tunefront.search.study.live_stage import note_stage
from tunefront.spaces import Gpu

LONGEST_S = 600.0
GPUS = [Gpu(name="logical", memory_mb=1024, capability=(9, 0), uuid=f"GPU-{i}") for i in range(4)]


def answer(**facts: object) -> Evaluation:
    measurements = {
        "throughput": Measurement.exact(10.0, "items/s"),
        "perplexity": Measurement.exact(5.0, ""),
    }
    return Evaluation(status="ok", measurements=measurements, facts=facts)


def meets_three_others(job: Mapping[str, Any]) -> Evaluation:
    """Return when and on which devices it ran; trials of one GPU end only if four run at once.

    Trials of several GPUs take a while, in which others could run. Ray leaves the choice of devices
    to leases, here of four that no machine has.
    """
    ranks = int(job["configuration"]["tensor_parallel"])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    note_stage(Path(job["folder"]), job["number"], "measure")
    with lease_gpus(ranks, GPUS) as leased:
        start = time.time()
        if ranks == 1:
            wait_for_others(job, 4)
        else:
            time.sleep(0.5)
        end = time.time()
    devices = ",".join(gpu.uuid for gpu in leased)
    return answer(start=start, end=end, devices=devices, visible=visible, niceness=os.nice(0))


def meets_another(job: Mapping[str, Any]) -> Evaluation:
    """Return on which node it ran; all but the baseline end only if two run at once."""
    import ray

    wait_for_others(job, 2)
    return answer(node=ray.get_runtime_context().get_node_id())


def wait_for_others(job: Mapping[str, Any], count: int) -> None:
    """Wait until so many trials beside the baseline have started; the baseline does not wait."""
    start = time.time()
    if job["number"]:
        folder = Path(job["folder"], "met")
        folder.mkdir(exist_ok=True)
        (folder / str(job["number"])).touch()
        while len(list(folder.iterdir())) < count:
            if time.time() - start > LONGEST_S:
                raise TimeoutError("the others never came")
            time.sleep(0.05)


def quick(job: Mapping[str, Any]) -> Evaluation:
    """Return an evaluation, and note that the trial ran."""
    with Path(job["folder"], "ran.txt").open("a") as log:
        log.write(f"{job['number']} {job['configuration']}\n")
    return answer()


def fails(job: Mapping[str, Any]) -> Evaluation:
    """Return the failure of a trial that can't be built."""
    return Evaluation(status="failed", cause="unsupported", stage="build", message="no such kernel")


def goes_wrong(job: Mapping[str, Any]) -> Evaluation:
    """Let the worker die, raise an error outside every step, or return no number."""
    batch = job["configuration"]["batch_size"]
    if batch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if batch == 4:
        raise RuntimeError("a bug of ours")
    found = quick(job)
    if batch == 8:
        unknown = Measurement.exact(float("nan"), "items/s")
        return replace(found, measurements={**found.measurements, "throughput": unknown})
    return found
