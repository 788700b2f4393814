"""The process that holds Ray: nobody else hears it, its end is seen, nothing of it is left."""

import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tunefront.evaluators import Evaluation
from tunefront.search.cluster.jobs import Job
from tunefront.search.cluster.supervisor import (
    TAG,
    RayLost,
    RaySupervisor,
    end_processes,
    ray_folder_of,
)
from tunefront.spaces import ClusterError

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


class Nothing:
    """Jobs that never come."""

    def waiting(self) -> bool:
        return True

    def next_job(self) -> Job | None:
        return None

    def tell(self, number: int, evaluation: Evaluation) -> None:
        raise AssertionError

    def worker_exited(self, number: int) -> None:
        raise AssertionError


class KillsFirst(Nothing):
    """Kills a process of Ray when it is first asked."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._done = False

    def waiting(self) -> bool:
        if not self._done:
            self._done = True
            for process in tagged(self._folder):
                if process.name() == self._name:
                    process.kill()
        return True


def tagged(folder: Path) -> Sequence[psutil.Process]:
    """Every process that carries the folder's tag."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TAG) == str(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_nothing_listens_beyond_this_machine_and_nothing_is_left(tmp_path: Path) -> None:
    with RaySupervisor(tmp_path, cores=1, gpus=0):
        processes = tagged(tmp_path)
        assert {"raylet", "gcs_server"} <= {process.name() for process in processes}
        sockets = [
            connection
            for process in processes
            if process.status() != psutil.STATUS_ZOMBIE
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert sockets
        assert {connection.laddr.ip for connection in sockets} <= LOOPBACK
    assert not tagged(tmp_path)
    assert not ray_folder_of(tmp_path).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_the_end_of_ray_is_seen_in_seconds(tmp_path: Path, name: str) -> None:
    with RaySupervisor(tmp_path, cores=1, gpus=0) as host:
        start = time.monotonic()
        with pytest.raises(RayLost):
            host.trials(KillsFirst(tmp_path, name), concurrent=1)
        assert time.monotonic() - start < 30
        host.restart()
        assert "raylet" in {process.name() for process in tagged(tmp_path)}
    assert not tagged(tmp_path)


def test_what_a_killed_driver_has_left_is_ended_by_the_next_one(tmp_path: Path) -> None:
    host = RaySupervisor(tmp_path, cores=1, gpus=0)
    host.__enter__()
    assert end_processes(tmp_path) > 2
    assert not tagged(tmp_path)
    host.__exit__(None, None, None)


def test_a_cluster_that_does_not_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    told = r"^RAY_ADDRESS=127\.0\.0\.1:9: no cluster responds"
    with pytest.raises(ClusterError, match=told), RaySupervisor(tmp_path, cores=1):
        pass
    assert not tagged(tmp_path)
