"""The Ray process: runs trials and confirmation for the search driver that started it.

`python -m tunefront.search.cluster.service` reads orders as JSON lines from stdin and writes
messages to stdout; all other output goes to the log. It is killed when its parent process ends.
"""

import ctypes
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from tunefront.evaluators import WorkloadSpec, resources_for
from tunefront.evaluators.interfaces.polled.capacity import CapacityResult
from tunefront.evaluators.isolation.call import run_plain
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.pipelines.base import RoundResult
from tunefront.spaces import ClusterError, Resources

from .channel import Channel
from .jobs import RUN_CAPACITY, RUN_TURNS, CapacityJob, TurnsJob, placement_of
from .nodes import Node, NodePool, check_nodes, query_nodes, usable_nodes
from .resources import ray_resources_of
from .session import drop_secrets, keep_files_private, ray_session

SERVICE_HEARTBEAT_S = 5.0
MOST_RAY_TRIALS = 200
"""Maximum number of trials of one Tune run, because Tune keeps every trial in memory."""
CORE = frozenset({"raylet", "gcs_server"})
RAY_FOLDER = "r"
"""Folder of Ray's own files: Ray opens it to all users, so it is in one that is private."""


def main() -> None:
    """Start Ray, then execute orders until the channel is closed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    channel = Channel(os.fdopen(0, "rb", closefd=False), os.dup(1))
    os.dup2(2, 1)  # stdout is reserved for the protocol
    options = channel.receive()
    if options is None:
        return
    folder = Path(options["folder"])
    _leave_working_folder(options["search"])
    keep_files_private()
    try:
        with ray_session(options["cores"], options["gpus"], folder / RAY_FOLDER):
            drop_secrets()
            nodes = _nodes(Path(options["search"]))
            channel.send(kind="ready", pids=_core_pids(), nodes=to_plain(nodes))
            threading.Thread(target=_send_heartbeats, args=(channel,), daemon=True).start()
            _serve(channel, folder / "tune", usable_nodes(nodes))
    except ClusterError as error:
        channel.send(kind="refused", reason=str(error))


def _leave_working_folder(folder: str) -> None:
    """Change to a folder without Python files; Ray adds it to the import path of its workers."""
    entries = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, entries))
    os.chdir(folder)


def _nodes(search: Path) -> list[Node]:
    """Return the nodes of the cluster at `RAY_ADDRESS`; empty for a local Ray.

    Raises:
        ClusterError: If no node can run trials.
    """
    if not (address := os.environ.get("RAY_ADDRESS")):
        return []
    nodes = query_nodes(search)
    check_nodes(nodes, address, search)
    return nodes


def _serve(channel: Channel, folder: Path, node_pool: NodePool) -> None:
    while (order := channel.receive()) is not None:
        if order["do"] == "trials":
            _run_trials(channel, order, folder, node_pool)
            channel.send(kind="done")
        elif order["do"] == "turns":
            found = _run_turns(from_plain(TurnsJob, order["job"]), node_pool)
            channel.send(kind="done", result=to_plain(found))
        else:
            channel.send(kind="done", result=_run_capacity(order["job"], node_pool))


def _run_trials(
    channel: Channel, order: Mapping[str, Any], folder: Path, node_pool: NodePool
) -> None:
    """Run the driver's jobs as Tune trials, with reused actors and each trial's own resources."""
    from ray import tune

    from .tune_searcher import ChannelSearcher
    from .worker import trainable

    alone = order["concurrent"] == 1 and "RAY_ADDRESS" not in os.environ
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trainable, body=order["body"]),
            lambda job: placement_of(_resources(job), alone=alone, node_pool=node_pool),
        ),
        tune_config=tune.TuneConfig(
            search_alg=ChannelSearcher(channel, folder, MOST_RAY_TRIALS),
            num_samples=-1,
            max_concurrent_trials=order["concurrent"],
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(name="run", storage_path=str(folder), verbose=0),
    )
    tuner.fit()
    shutil.rmtree(folder, ignore_errors=True)


def _resources(job: Mapping[str, Any]) -> Resources:
    """Return what a job in plain values needs."""
    workload = from_plain(WorkloadSpec, job["settings"]["workload"])
    return resources_for(workload, job["configuration"])


def _run_turns(job: TurnsJob, node_pool: NodePool) -> Sequence[RoundResult | None]:
    """Run a confirmation round in a worker with the largest number of cores and GPUs of a target.

    The result is None for a target that fits no node, and for all if the first one fits none.
    """
    import ray

    needed = {one: resources_for(job.settings.workload, one) for one in job.configurations}
    targets = job.configurations
    if not node_pool.room_for(needed[targets[0]]):  # the reference of all ratios
        return [None] * len(targets)
    able = [target for target in targets if node_pool.room_for(needed[target])]
    needs = [ray_resources_of(needed[target]) for target in able]
    task = ray.remote(run_plain).options(
        num_cpus=max(need["CPU"] for need in needs),
        num_gpus=max(need.get("GPU", 0.0) for need in needs),
        label_selector=node_pool.selector() or None,
    )
    plain = ray.get(task.remote(RUN_TURNS, to_plain(replace(job, configurations=able))))
    found = iter(from_plain(list[RoundResult | None], plain))
    return [next(found) if configuration in able else None for configuration in targets]


def _run_capacity(order: Mapping[str, Any], node_pool: NodePool) -> object:
    """Run a search for a capacity in a worker; return its result in plain values."""
    job = from_plain(CapacityJob, order)
    needed = resources_for(job.settings.workload, job.configuration)
    if not node_pool.room_for(needed):
        slo, problem = job.settings.workload.slo, "no node of the cluster has room for the trial"
        return to_plain(CapacityResult(search=job.wanted, slo=slo, problem=problem))
    import ray

    needs = ray_resources_of(needed)
    task = ray.remote(run_plain).options(
        num_cpus=needs["CPU"],
        num_gpus=needs.get("GPU", 0.0),
        label_selector=node_pool.selector() or None,
    )
    return ray.get(task.remote(RUN_CAPACITY, order))


def _send_heartbeats(channel: Channel) -> None:
    """Send a heartbeat every `SERVICE_HEARTBEAT_S` seconds while the cluster replies."""
    import ray

    while True:
        ray.nodes()  # type: ignore[no-untyped-call]
        try:
            channel.send(kind="heartbeat")
        except OSError:
            return
        threading.Event().wait(SERVICE_HEARTBEAT_S)


def _core_pids() -> list[int]:
    """Return the raylet and GCS processes of a local Ray; empty for an existing cluster."""
    children = psutil.Process().children(recursive=True)
    return [process.pid for process in children if process.name() in CORE]


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # Ray's threads would keep the process alive
