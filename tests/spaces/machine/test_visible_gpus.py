"""CUDA_VISIBLE_DEVICES by index, UUID and MIG instance, on a stand-in for the driver."""

from typing import cast

import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.spaces.machine.visible_gpus import Nvml, visible_gpus

UUIDS = ("GPU-aa11-0", "GPU-ab22-1", "GPU-cc33-2")


def driver(
    split: int | None = None, instances: tuple[int, ...] = (1, 3), lost: int | None = None
) -> FakeNvml:
    """Three GPUs: one may be split into MIG instances at these indices, one may be lost."""
    parts = [FakeGpu(uuid=f"MIG-{i}") if i in instances else None for i in range(7)]
    return FakeNvml(
        [
            FakeGpu(uuid=uuid, instances=parts if place == split else (), lost=place == lost)
            for place, uuid in enumerate(UUIDS)
        ]
    )


def visible(
    patch: pytest.MonkeyPatch, written: str | None, nvml: FakeNvml, problems: list[str]
) -> list[str]:
    nvml.install(patch, written)
    found = visible_gpus(cast(Nvml, nvml), problems.append)
    return [cast(FakeGpu, handle).uuid for handle in found]


@pytest.mark.parametrize(
    ("written", "places"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        (" 1, 2", [1, 2]),
        ("GPU-ab22-1", [1]),
        ("GPU-cc33-2,GPU-aa11-0", [2, 0]),
        ("GPU-cc", [2]),  # a beginning that one GPU has
        ("GPU-a", []),  # that two have
        ("1,GPU-cc33-2", [1, 2]),
        ("0,7,1", [0]),  # what follows a name that is none is invisible, as in CUDA
        ("0,-1,1", [0]),
        ("0,GPU-unknown,1", [0]),
        ("NoDevFiles", []),
    ],
)
def test_gpus_by_index_and_uuid(
    monkeypatch: pytest.MonkeyPatch, written: str | None, places: list[int]
) -> None:
    problems: list[str] = []
    found = visible(monkeypatch, written, driver(), problems)
    assert found == [UUIDS[place] for place in places]
    assert problems == []


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("MIG-3", ["MIG-3"]),
        ("MIG-1,MIG-3", ["MIG-1", "MIG-3"]),
        ("MIG-2", []),
        ("2", ["MIG-1", "MIG-3"]),  # of a GPU that is split, every instance
        ("0,2", [UUIDS[0], "MIG-1", "MIG-3"]),
        (None, [UUIDS[0], UUIDS[1], "MIG-1", "MIG-3"]),
    ],
)
def test_mig_instances(
    monkeypatch: pytest.MonkeyPatch, written: str | None, found: list[str]
) -> None:
    assert visible(monkeypatch, written, driver(split=2), []) == found


def test_a_split_gpu_without_instances_is_invisible(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible(monkeypatch, "2", driver(split=2, instances=()), []) == []


@pytest.mark.parametrize(
    ("written", "places"),
    [
        (None, [0, 2]),
        ("0,1,2", [0, 2]),
        ("GPU-ab22-1,GPU-cc33-2", [2]),  # its UUID can't be read
    ],
)
def test_a_lost_gpu_is_left_out_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, written: str | None, places: list[int]
) -> None:
    problems: list[str] = []
    found = visible(monkeypatch, written, driver(lost=1), problems)
    assert found == [UUIDS[place] for place in places]
    assert set(problems) == {"GPU 1 is left out: GPU is lost"}
