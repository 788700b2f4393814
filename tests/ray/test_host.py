"""The supervisor of Ray: Ray listens on this machine only, and its exit is detected."""

import stat
from pathlib import Path

import psutil
import pytest

from tunefront.evaluators import Evaluation
from tunefront.search.cluster.jobs import Job
from tunefront.search.cluster.supervisor import (
    RayLost,
    RaySupervisor,
    end_processes,
    processes_of,
    ray_folder_of,
)
from tunefront.spaces import ClusterError

EXITED = "exit|closed"
"""The reason of a detected exit; an undetected one would be a timeout with another reason."""
SECRET = "hunter3aws"
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


class NoJobs:
    """A source of jobs that offers none and does not end."""

    def waiting(self) -> bool:
        return True

    def next_job(self) -> Job | None:
        return None

    def tell(self, number: int, evaluation: Evaluation) -> None:
        raise AssertionError

    def worker_exited(self, number: int) -> None:
        raise AssertionError


class KillsFirst(NoJobs):
    """A source that kills a process of Ray at the first request."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._done = False

    def waiting(self) -> bool:
        if not self._done:
            self._done = True
            for process in processes_of(self._folder):
                if process.name() == self._name:
                    process.kill()
        return True


def names(folder: Path) -> set[str]:
    return {process.name() for process in processes_of(folder)}


def listening(folder: Path) -> set[str]:
    """Return the addresses on which processes with the folder's tag listen."""
    return {
        connection.laddr.ip
        for process in processes_of(folder)
        if process.status() != psutil.STATUS_ZOMBIE
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def check_nothing_left(folder: Path) -> None:
    assert not processes_of(folder)
    assert not ray_folder_of(folder).exists()
    assert [path.name for path in folder.iterdir()] == ["logs"]


def check_private(folder: Path) -> None:
    """Ray's files are not for other users; nodes have the secrets that trials can need."""
    private = ray_folder_of(folder)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert any(private.rglob("session_*"))
    (raylet,) = (process for process in processes_of(folder) if process.name() == "raylet")
    assert raylet.environ()["AWS_SECRET_ACCESS_KEY"] == SECRET


def test_ray_listens_on_this_machine_only_and_is_restarted_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One Ray for all of it, because its start takes seconds."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with RaySupervisor(tmp_path, cores=1, gpus=0) as supervisor:
        assert {"raylet", "gcs_server"} <= names(tmp_path)
        check_private(tmp_path)
        addresses = listening(tmp_path)
        assert addresses
        assert addresses <= LOOPBACK
        with pytest.raises(RayLost, match=EXITED):
            supervisor.trials(KillsFirst(tmp_path, "raylet"), concurrent=1)
        supervisor.restart()
        assert {"raylet", "gcs_server"} <= names(tmp_path)
        with pytest.raises(RayLost, match=EXITED):
            supervisor.trials(KillsFirst(tmp_path, "gcs_server"), concurrent=1)
    check_nothing_left(tmp_path)
    killed = RaySupervisor(tmp_path, cores=1, gpus=0)  # of a driver that ends without `__exit__`
    killed.__enter__()
    assert {"raylet", "gcs_server"} <= names(tmp_path)
    agents = [p for p in processes_of(tmp_path) if "Agent" in "".join(p.cmdline())]
    assert agents, "they overwrite the tag"
    (raylet,) = (process for process in processes_of(tmp_path) if process.name() == "raylet")
    raylet.kill()
    found = processes_of(tmp_path)
    assert not [agent for agent in agents if agent not in found and agent.is_running()]
    assert end_processes(tmp_path) > 2
    assert not processes_of(tmp_path)
    assert not [agent for agent in agents if agent.is_running()]
    killed.__exit__(None, None, None)
    check_nothing_left(tmp_path)


def test_an_address_without_a_cluster_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    text = r"^RAY_ADDRESS=127\.0\.0\.1:9: no cluster responds"
    with pytest.raises(ClusterError, match=text), RaySupervisor(tmp_path, cores=1):
        pass
    assert not processes_of(tmp_path)
