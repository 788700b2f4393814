"""The Ray process before it starts Ray."""

import os
from pathlib import Path

import pytest

from tunefront.evaluators import EvaluationSettings, WorkloadSpec
from tunefront.evaluators.interfaces.polled.capacity import CapacityResult, CapacitySearch
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.search.cluster.jobs import CapacityJob
from tunefront.search.cluster.nodes import Node, NodePool
from tunefront.search.cluster.service import _leave_working_folder, _run_capacity
from tunefront.spaces import Configuration


def test_rays_workers_do_not_get_the_users_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `PYTHONPATH` names stays the same, though the folder changes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "mine", "/absolute"]))
    results = tmp_path / "results"
    results.mkdir()
    _leave_working_folder(str(results))
    assert Path.cwd() == results
    assert os.environ["PYTHONPATH"] == f"{tmp_path / 'mine'}{os.pathsep}/absolute"


def test_a_trial_that_fits_no_node_has_no_capacity(tmp_path: Path) -> None:
    """A node that it ran on can be gone."""
    workload = WorkloadSpec(task="text-generation", model="m", folder="/nowhere", data="d")
    job = CapacityJob(
        configuration=Configuration({"threads": 2}),
        settings=EvaluationSettings(workload=workload, fingerprint="abc", store="/nowhere"),
        folder=tmp_path,
        log=tmp_path / "log",
        wanted=CapacitySearch(kind="rate", start=1.0, seconds=60.0, limit_s=960.0),
        lessee=Lessee(name="search", pid=1, host="h"),
    )
    small = NodePool(nodes=(Node(id="a", address="a", cores=1.0, gpus=0.0),))
    found = from_plain(CapacityResult, _run_capacity(to_plain(job), small))
    assert found.problem == "no node of the cluster has room for the trial"
