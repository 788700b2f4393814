"""Ray's share of a trial: physical cores and GPUs."""

from dataclasses import replace

import pytest

from tunefront.search.cluster import resources
from tunefront.search.cluster.resources import ray_resources_of, ray_resources_text
from tunefront.spaces import Resources, detect_hardware


@pytest.mark.parametrize(
    ("processes", "threads", "cores"), [(1, 1, 1), (1, 4, 4), (2, 2, 4), (2, 4, 4), (3, 3, 9)]
)
def test_a_trial_takes_the_cores_that_it_leases(
    monkeypatch: pytest.MonkeyPatch, processes: int, threads: int, cores: int
) -> None:
    """On four cores with two hyperthreads each; nine threads do not fit."""
    here = replace(detect_hardware(), cores=8, physical_cores=4)
    monkeypatch.setattr(resources, "detect_hardware", lambda: here)
    needed = Resources(processes=processes, threads=threads, gpus=0)
    assert ray_resources_of(needed) == {"CPU": cores}


def test_gpus_are_requested_where_they_are_used() -> None:
    found = ray_resources_of(Resources(processes=1, threads=1, gpus=1))
    assert found == {"CPU": 1, "GPU": 1}
    assert ray_resources_text(found) == "1 core and 1 GPU"
