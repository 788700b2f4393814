"""An existing cluster: three nodes on this machine, one of which has fewer cores."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tunefront.search.cluster.nodes import (
    Node,
    NodePool,
    check_nodes,
    obstacle_of,
    usable_nodes,
)
from tunefront.search.cluster.supervisor import RaySupervisor, ray_folder_of
from tunefront.search.study.study import Study
from tunefront.search.terminal.events import event_text
from tunefront.spaces import ClusterError, detect_hardware

from .conftest import IDENTITY, LoadFile, runner_of

START = ("-c", "from ray.scripts.scripts import main; main()", "start", "--block", "--no-monitor")
OFFER = ("--num-cpus=1", "--num-gpus=1", "--node-ip-address=127.0.0.1", "--include-log-monitor=0")
START_S = 600.0
SECRET = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
"""Nodes listen beyond the loopback, whatever address they are given."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start two nodes like this machine and one with one of its cores; yield their address."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a node with fewer cores than this machine needs two")
    log = tmp_path_factory.mktemp("cluster") / "log"
    address = f"127.0.0.1:{free_port()}"
    folder = tempfile.mkdtemp(prefix="ray-")  # in short: Ray's sockets lie below it
    head = ("--head", f"--port={address.partition(':')[2]}", f"--temp-dir={folder}")
    processes = [start(log, *head, "--include-dashboard=false")]
    try:
        wait_for(log, processes)
        processes.append(start(log, f"--address={address}"))
        wait_for(log, processes)  # two that start at once take each other's sockets
        with one_core():
            processes.append(start(log, f"--address={address}"))
        wait_for(log, processes)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(log: Path, *options: str) -> "subprocess.Popen[bytes]":
    """Start a node as a user does; it ends with its process."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, sys.path)])  # workers find the bodies
    quiet = {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", **SECRET}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *START, *OFFER, *options],
            stdout=output,
            stderr=output,
            env={**os.environ, **quiet},
        )


def wait_for(log: Path, processes: "list[subprocess.Popen[bytes]]") -> None:
    deadline = time.monotonic() + START_S
    while log.read_text().count("Ray runtime started.") < len(processes):
        alive = all(process.poll() is None for process in processes)
        assert alive and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@contextmanager
def one_core() -> Iterator[None]:
    """Limit the processes that are started to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def node(**facts: object) -> Node:
    fields: dict[str, object] = {"id": "a", "address": "10.0.0.1", "cores": 4.0, "gpus": 0.0}
    return Node(**{**fields, **facts})  # type: ignore[arg-type]


def test_trials_run_on_the_nodes_that_are_like_this_machine(
    cluster: str, load_file: LoadFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    for name, value in SECRET.items():
        monkeypatch.setenv(name, value)
    experiment = load_file("  batch_size: [1, 2, 4]\n  tensor_parallel: [1, 4]")
    study = Study.open(experiment, IDENTITY)
    runner = runner_of(study, "meets_another", concurrent=1)
    events: list[str] = []
    runner.on_event = lambda event: events.append(event_text(event))
    with RaySupervisor(experiment.results, cores=1) as host:
        like = {node.id for node in host.node_pool.nodes}
        (unlike,) = (node for node in host.nodes if node.obstacle)
        runner.run(host)
    assert unlike.obstacle.startswith("it is another machine")
    assert ", 1 core," in unlike.obstacle
    assert len(like) == 2
    assert events == ["3 configurations left out: no node has enough cores or GPUs"]
    assert runner.concurrent == 2
    trials = study.trials()
    assert [trial.status for trial in trials] == ["ok"] * 3
    assert {t.evaluation.facts["node"] for t in trials if t.evaluation} == like


def test_a_search_is_refused_if_no_node_has_room_for_the_baseline(load_file: LoadFile) -> None:
    experiment = load_file("  batch_size: [1, 2]")
    runner = runner_of(Study.open(experiment, IDENTITY), "quick")
    host = SimpleNamespace(node_pool=NodePool(nodes=(node(),)))
    text = r"^no node of the cluster has room for the baseline \(.*\), which needs 1 core and 1 GPU"
    with pytest.raises(ClusterError, match=text):
        runner.run(cast(RaySupervisor, host))


def test_a_node_that_can_not_run_trials_has_a_reason() -> None:
    here = detect_hardware()
    same = {
        "summary": "s",
        "fingerprint": here.fingerprint,
        "libraries": dict(here.libraries),
        "variables": dict(here.variables),
        "folder": "/f",
    }
    assert obstacle_of(same, here) == ""
    other = obstacle_of({**same, "fingerprint": "x"}, here)
    assert other == "it is another machine (s)"
    older = obstacle_of({**same, "libraries": {**here.libraries, "torch": "1.0"}}, here)
    assert older == f"it has other libraries (torch 1.0, here {here.libraries['torch']})"
    other = obstacle_of({**same, "variables": {**here.variables, "OMP_PLACES": "cores"}}, here)
    assert other == "it has other environment variables (OMP_PLACES cores, here missing)"
    assert obstacle_of({**same, "folder": ""}, here) == "it does not see the search's folder"


def test_a_cluster_without_a_node_that_can_run_trials_is_refused() -> None:
    text = re.escape("RAY_ADDRESS=h:1: none of its nodes can run trials")
    with pytest.raises(ClusterError, match=f"^{text}.*10.0.0.1: it is small; run `tunefront` on"):
        check_nodes([node(obstacle="it is small")], "h:1", Path("/f"))
    with pytest.raises(ClusterError, match=f"^{text}.*no node offers a core"):
        check_nodes([], "h:1", Path("/f"))
    check_nodes([node(), node(obstacle="it is small")], "h:1", Path("/f"))


def test_concurrent_trials_are_the_sum_over_usable_nodes() -> None:
    assert NodePool().concurrent_trials(3) == 3
    nodes = [node(), node(cores=1.0), node(obstacle="it is small")]
    assert usable_nodes(nodes).concurrent_trials(3) == 4


def test_the_folder_of_a_cluster_is_below_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Path("/a/folder/whose/name/is/longer/than/a/socket/may/be")
    assert not ray_folder_of(long).is_relative_to(long)
    plain = Path("/a/results/b-1")
    assert ray_folder_of(plain) == plain / "ray"
    for odd in (Path("/a b"), Path("/a%20b"), Path("/\u6a21"), Path("/\udcff")):
        assert not ray_folder_of(odd).is_relative_to(odd)
    monkeypatch.setenv("RAY_ADDRESS", "h:1")
    assert ray_folder_of(long).is_relative_to(long)


@pytest.mark.parametrize("name", ["a" * 60, "a b", "模型"])
def test_a_temporary_folder_that_ray_can_not_use_is_left(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    monkeypatch.setattr("tunefront.search.cluster.supervisor.TEMPORARY", tmp_path / "other")
    found = ray_folder_of(Path("/a/folder/whose/name/is/longer/than/a/socket/may/be"))
    assert found.parent == tmp_path / "other" / f"tunefront-{os.getuid()}"
