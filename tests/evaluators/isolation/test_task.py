"""Tasks of several processes, and interim reports of a task while it runs."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tunefront.evaluators import Measurement
from tunefront.evaluators.isolation.interim import Decision, Interim, report_interim, socket_folder
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.spaces import EvaluationError, WorkloadError

HERE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The request of the functions in ranks.py."""

    steps: int = 0
    fails: int = -1
    how: str = "raises"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """What a process has found."""

    rank: str
    size: str
    local: str
    others: tuple[str, ...]
    cores: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How far a task came, and why it stopped."""

    steps: int
    reason: str


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    """The functions are found beside this file's folder; no library is imported for them."""
    with pytest.MonkeyPatch.context() as patch:
        before = os.environ.get("PYTHONPATH")
        folders = (str(HERE), str(HERE.parents[1]), before)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        found = Isolation()
        yield found
        found.close()


def meeting(tmp_path: Path, processes: int, **given: object) -> Task[Rank]:
    return Task(
        function="ranks:meet",
        request=Given(**given),  # type: ignore[arg-type]
        result=Rank,
        imports=("numpy",),
        log=tmp_path / "log",
        timeout_s=60,
        processes=processes,
    )


def training(tmp_path: Path, processes: int, steps: int = 5) -> Task[Trained]:
    return Task(
        function="ranks:train",
        request=Given(steps=steps),
        result=Trained,
        imports=("numpy",),
        log=tmp_path / "log",
        timeout_s=60,
        processes=processes,
    )


def test_processes_start_together_and_the_result_is_that_of_rank_0(
    isolation: Isolation, tmp_path: Path
) -> None:
    """Each writes its rank beside the rendezvous file and waits for the others."""
    found = isolation.run(meeting(tmp_path, 3))
    assert (found.rank, found.local, found.size) == ("0", "0", "3")
    assert found.others == ("0", "1", "2")


def test_a_single_process_has_no_rank(isolation: Isolation, tmp_path: Path) -> None:
    task = replace(meeting(tmp_path, 1), function="ranks:alone")
    assert isolation.run(task).rank == ""


def test_cores_are_shared_out_in_equal_parts() -> None:
    task = replace(meeting(Path("/nowhere"), 2), cores=[4, 5, 6, 7, 8])
    assert [task.cores_of(rank) for rank in range(2)] == [[4, 5], [6, 7]]
    few = replace(task, cores=[4])
    assert [few.cores_of(rank) for rank in range(2)] == [[4], [4]]


def test_gpus_are_shared_out_as_cores_are() -> None:
    task = replace(meeting(Path("/nowhere"), 2), devices=("GPU-a", "GPU-b", "GPU-c", "GPU-d"))
    assert [task.devices_of(rank) for rank in range(2)] == [("GPU-a", "GPU-b"), ("GPU-c", "GPU-d")]
    seen = [task.environment_of(rank, Path("met"))["CUDA_VISIBLE_DEVICES"] for rank in range(2)]
    assert seen == ["GPU-a,GPU-b", "GPU-c,GPU-d"]
    one = replace(task, devices=("MIG-a",))
    assert [one.devices_of(rank) for rank in range(2)] == [("MIG-a",), ("MIG-a",)]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_task_without_gpus_sees_none_whatever_its_environment(processes: int) -> None:
    set_otherwise = {"CUDA_VISIBLE_DEVICES": "0", "ELSE": "kept"}
    task = replace(meeting(Path("/nowhere"), processes), environment=set_otherwise)
    found = task.environment_of(0, Path("met"))
    assert (found["CUDA_VISIBLE_DEVICES"], found["ELSE"]) == ("", "kept")
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("how", "cause", "message"),
    [
        ("raises", "exception", r"rank 1 of 2: ValueError: rank 1 has no data"),
        ("refuses", "unsupported", "rank 1 of 2: no such kernel"),
        ("is killed", "oom", "rank 1 of 2: killed by SIGKILL"),
    ],
)
def test_the_first_failure_ends_all_processes_and_is_the_cause(
    isolation: Isolation, tmp_path: Path, how: str, cause: str, message: str
) -> None:
    """The other one would wait for ever."""
    with pytest.raises(EvaluationError, match=message) as caught:
        isolation.run(meeting(tmp_path, 2, fails=1, how=how))
    assert caught.value.cause == cause
    assert isolation.run(meeting(tmp_path, 2)).size == "2"


def test_the_user_s_data_is_at_fault_in_any_process(isolation: Isolation, tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="row 3 is bad"):
        isolation.run(meeting(tmp_path, 2, fails=1, how="blames the data"))


def test_a_failure_stays_the_task_s_error(isolation: Isolation, tmp_path: Path) -> None:
    with isolation.start(meeting(tmp_path, 2, fails=1)) as child:
        for _ in range(2):
            with pytest.raises(EvaluationError, match="rank 1 has no data"):
                child.result()
        with pytest.raises(EvaluationError, match="rank 1 has no data"):
            child.check()


def test_a_task_has_at_least_one_process(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="processes must be at least 1, but got 0"):
        meeting(tmp_path, 0)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_task_reports_while_it_runs_and_learns_when_to_stop(
    isolation: Isolation, tmp_path: Path, processes: int
) -> None:
    """The monitor gets the reports of rank 0; all processes stop at the same step."""
    seen: list[Interim] = []

    def monitor(interim: Interim) -> Decision:
        seen.append(interim)
        return Decision(stop=interim.step == 3, reason="good enough")

    found = isolation.run(training(tmp_path, processes), monitor)
    assert found == Trained(steps=3, reason="good enough")
    assert [interim.step for interim in seen] == [1, 2, 3]
    assert seen[-1].measurements == {"loss": Measurement.exact(1 / 3, "")}
    assert (tmp_path / "log").read_text().count("stopped at 3") == processes


def test_without_a_monitor_a_task_runs_to_its_end(isolation: Isolation, tmp_path: Path) -> None:
    assert isolation.run(training(tmp_path, 2)) == Trained(steps=5, reason="")
    assert report_interim(Interim(step=1, measurements={})) == Decision()


def test_an_error_of_the_monitor_stops_the_task_and_is_raised(
    isolation: Isolation, tmp_path: Path
) -> None:
    def monitor(interim: Interim) -> Decision:
        raise KeyError("loss_of_baseline")

    with pytest.raises(KeyError, match="loss_of_baseline"):
        isolation.run(training(tmp_path, 1, steps=10**6), monitor)


def test_a_task_that_dies_between_reports_fails_with_its_cause(
    isolation: Isolation, tmp_path: Path
) -> None:
    """The other process waits for a decision on a step that rank 0 never reports."""
    dying = replace(
        training(tmp_path, 2), function="ranks:dies_in_training", request=Given(steps=5)
    )
    with pytest.raises(EvaluationError, match="rank 0 of 2: killed by SIGKILL") as caught:
        isolation.run(dying, lambda interim: Decision())
    assert caught.value.cause == "oom"


def test_a_socket_has_a_short_path_whatever_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with socket_folder() as folder:
        assert len(str(folder)) < 90
    assert list(deep.iterdir()) == []
