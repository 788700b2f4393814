"""NCCL works, and ranks without a device end with the cause, soon, and leave nothing."""

from pathlib import Path

import pytest

from tunefront.evaluators import CandidateRecord, WorkloadSpec, builtin_catalog
from tunefront.spaces import Configuration

from .harness import Bench, CheckFigures, body

WEIGHTS = "weights"
"""The folder of a candidate's weights; its module would import torch into this process."""
MOST_S = 40.0
"""Imports of both ranks take some 10 s of these; without the cause it would be five minutes."""


@pytest.mark.takes(7)
def test_one_rank_adds_up(figures: CheckFigures, bench: Bench) -> None:
    bench.mode.need_gpu("NCCL runs on GPUs")
    found = body("nccl_alone")
    figures(**found)
    assert found["sum"] == 4.0


@pytest.mark.takes(18)
def test_a_rank_without_a_device_is_the_cause(
    bench: Bench, workloads: dict[str, WorkloadSpec], tmp_path: Path, figures: CheckFigures
) -> None:
    bench.mode.need_gpu("the second rank has no device")
    catalog = builtin_catalog()
    values = catalog.complete({"device": "cuda", "precision": "bf16", "tensor_parallel": 2})
    spec = workloads["decoder"]
    (tmp_path / WEIGHTS).symlink_to(Path(spec.folder, spec.model))
    CandidateRecord(
        configuration=catalog.up_to(values, "runtime"),
        settings={},
        parameters=1,
        reference_parameters=1,
        execution=Configuration({"threads": 1, "batch_size": 1, "replicas": 1}),
    ).write(tmp_path)
    visible = {"CUDA_VISIBLE_DEVICES": bench.mode.uuid}
    found = body("open_sharded", folder=str(tmp_path), environment=visible, timeout_s=400.0)
    figures(**found)
    assert found["error"], "two ranks opened on one device"
    assert found["seconds"] < MOST_S
    assert found["left"] == []
