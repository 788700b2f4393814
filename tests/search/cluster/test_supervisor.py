"""Starts of Ray that fail, without Ray; tests/ray has those that succeed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tunefront.search.cluster import supervisor as module
from tunefront.search.cluster.nodes import Node
from tunefront.search.cluster.supervisor import RayLost, RayNotStarted, RaySupervisor
from tunefront.spaces import ClusterError

Problem = Exception | None


class Service:
    """Stands in for Ray's process.

    Attributes:
        problems: What goes wrong at the next starts; None if nothing does.
        made: All that were made.
    """

    problems: list[Problem]
    made: list["Service"]

    def __init__(self, folder: Path) -> None:
        self.closed = False
        self.made.append(self)

    def send(self, **message: object) -> None:
        if message.get("do"):
            raise RayLost("it has run until here")

    def wait_until_ready(self) -> tuple[Node, ...]:
        if (problem := self.problems.pop(0)) is not None:
            raise problem
        return ()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[RaySupervisor, list[Service]]]:
    """A supervisor, and its services, whose starts go wrong as listed."""

    def make(*problems: Problem) -> tuple[RaySupervisor, list[Service]]:
        Service.problems, Service.made = list(problems), []
        monkeypatch.setattr(module, "_Service", Service)
        monkeypatch.setattr(module, "end_processes", lambda folder: 0)
        return RaySupervisor(tmp_path, cores=1), Service.made

    return make


def loss(supervisor: RaySupervisor) -> RayLost:
    """How Ray is lost when trials are to run."""
    with pytest.raises(RayLost) as caught:
        supervisor.trials(None, 1)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    "problem",
    [RayLost("exit code -9"), BlockingIOError("exit code -9")],
    ids=["exit", "no process"],
)
def test_a_start_that_fails_is_reported_when_trials_are_to_run(
    starting: Callable[..., tuple[RaySupervisor, list[Service]]], problem: Problem
) -> None:
    supervisor, services = starting(problem, problem, None)
    with supervisor:
        for count in (1, 2):
            lost = loss(supervisor)
            assert (type(lost), str(lost)) == (RayNotStarted, "exit code -9")
            assert [service.closed for service in services] == [True] * count
            supervisor.restart()
        assert str(loss(supervisor)) == "it has run until here"
        assert not isinstance(loss(supervisor), RayNotStarted)
    assert all(service.closed for service in services)


def test_a_cluster_that_is_refused_ends_the_search_only_at_its_start(
    starting: Callable[..., tuple[RaySupervisor, list[Service]]],
) -> None:
    refused = ClusterError("RAY_ADDRESS=h:1: no cluster responds")
    supervisor, services = starting(refused)
    with pytest.raises(ClusterError, match="no cluster responds"), supervisor:
        pass
    assert services[0].closed
    supervisor, services = starting(None, refused)
    with supervisor:
        supervisor.restart()
        lost = loss(supervisor)
        assert isinstance(lost, RayNotStarted)
        assert str(lost) == str(refused)


def test_a_supervisor_that_was_not_started_runs_nothing(tmp_path: Path) -> None:
    assert str(loss(RaySupervisor(tmp_path, cores=1))) == "it was not started"
