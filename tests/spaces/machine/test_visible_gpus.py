"""CUDA_VISIBLE_DEVICES by index, UUID and MIG instance, on a made-up driver."""

from types import SimpleNamespace
from typing import cast

import pytest

from tunefront.spaces.machine.visible_gpus import Nvml, visible_gpus

UUIDS = ("GPU-aa11-0", "GPU-ab22-1", "GPU-cc33-2")


class NotFoundError(Exception):
    """NVML's."""


def driver(split: int | None = None, instances: tuple[int, ...] = (1, 3)) -> Nvml:
    """Three GPUs, one of which may be split into MIG instances at these indices."""

    def by_index(index: int) -> str:
        if index >= len(UUIDS):
            raise NotFoundError
        return UUIDS[index]

    def by_uuid(uuid: str) -> str:
        if uuid not in {*UUIDS, *(f"MIG-{i}" for i in instances), "MIG-GPU-cc33-2/1/0"}:
            raise NotFoundError
        return uuid

    def mode(handle: str) -> list[int]:
        if handle.startswith("MIG-"):
            raise NotFoundError
        return [int(split is not None and handle == UUIDS[split]), 0]

    def instance(handle: str, index: int) -> str:
        if index not in instances:
            raise NotFoundError
        return f"MIG-{index}"

    made = SimpleNamespace(
        NVMLError=NotFoundError,
        nvmlDeviceGetCount=lambda: len(UUIDS),
        nvmlDeviceGetHandleByIndex=by_index,
        nvmlDeviceGetHandleByUUID=by_uuid,
        nvmlDeviceGetUUID=lambda handle: handle,
        nvmlDeviceGetMigMode=mode,
        nvmlDeviceGetMaxMigDeviceCount=lambda handle: 7,
        nvmlDeviceGetMigDeviceHandleByIndex=instance,
    )
    return cast(Nvml, made)


def visible(patch: pytest.MonkeyPatch, written: str | None, nvml: Nvml) -> list[object]:
    if written is None:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        patch.setenv("CUDA_VISIBLE_DEVICES", written)
    return visible_gpus(nvml)


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
    assert visible(monkeypatch, written, driver()) == [UUIDS[place] for place in places]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("MIG-3", ["MIG-3"]),
        ("MIG-GPU-cc33-2/1/0", ["MIG-GPU-cc33-2/1/0"]),  # the name of older drivers
        ("MIG-1,MIG-3", ["MIG-1"]),  # a process sees one instance
        ("MIG-2", []),
        ("2", ["MIG-1"]),  # of a GPU that is split, the first instance
        ("0,2", [UUIDS[0], "MIG-1"]),
        (None, [UUIDS[0], UUIDS[1], "MIG-1"]),
    ],
)
def test_mig_instances(
    monkeypatch: pytest.MonkeyPatch, written: str | None, found: list[str]
) -> None:
    assert visible(monkeypatch, written, driver(split=2)) == found


def test_a_split_gpu_without_instances_is_invisible(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible(monkeypatch, "2", driver(split=2, instances=())) == []
