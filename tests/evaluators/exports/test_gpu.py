"""Exports of candidates that run on a GPU, on a machine without one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators import CandidateRecord, builtin_catalog
from tunefront.evaluators.exports import verification
from tunefront.evaluators.exports.folder import RUN_SCRIPT, copy_candidate, write_manifest
from tunefront.evaluators.exports.open import missing_gpu
from tunefront.evaluators.exports.verification import run_verification, tolerance_of
from tunefront.evaluators.interfaces.builtin import interface_of
from tunefront.evaluators.interfaces.endpoint import COPY_SHARE, GPUS, Facts
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import Configuration, Gpu, Value, detect_hardware

CATALOG = builtin_catalog()
HERE = replace(detect_hardware(), gpus=())
GPU = Gpu(name="A", memory_mb=1, capability=(9, 0))


def configuration(**values: Value) -> Configuration:
    return CATALOG.complete({"runtime": "torch", "device": "cuda", **values})


def record(**values: Value) -> CandidateRecord:
    return CandidateRecord(
        configuration=CATALOG.up_to(configuration(**values), "runtime"),
        settings={},
        parameters=1,
        reference_parameters=1,
        execution=Configuration({"threads": 1}),
    )


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({"precision": "fp32"}, 1e-3),
        ({"precision": "tf32"}, 2e-3),
        ({"precision": "bf16"}, 3e-2),
        ({"quantization_bits": 8, "quantization_method": "dynamic"}, 2e-2),
        ({"quantization_bits": 8, "quantization_method": "rtn"}, 1e-3),
        ({"quantization_bits": 8, "quantization_method": "dynamic", "precision": "bf16"}, 3e-2),
        ({"quantization_bits": 8, "quantization_method": "dynamic", "device": "cpu"}, 1e-3),
    ],
)
def test_the_tolerance_is_that_of_format_and_device(
    values: dict[str, Value], allowed: float
) -> None:
    assert tolerance_of(configuration(**values)) == allowed


def test_a_machine_without_a_gpu_is_told_what_is_missing() -> None:
    assert "an NVIDIA GPU, but none is visible here" in missing_gpu(record(), HERE)
    assert missing_gpu(record(), replace(HERE, gpus=(GPU,))) == ""
    assert missing_gpu(record(device="cpu"), HERE) == ""


@pytest.mark.skipif(bool(detect_hardware().gpus), reason="this machine has a GPU")
def test_an_export_ends_with_a_sentence_where_there_is_no_gpu(tmp_path: Path) -> None:
    """Both run.py and `tunefront verify`; nothing of the model is loaded before."""
    candidate, folder = tmp_path / "candidate", tmp_path / "export"
    candidate.mkdir()
    record().write(candidate)
    copy_candidate(candidate, folder, configuration(), interface_of("tensors"))
    command = [sys.executable, "-I", str(folder / RUN_SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("This model runs on an NVIDIA GPU: torch ")
    assert done.stderr.count("\n") == 1
    write_manifest(folder, {})
    *_, last = run_verification(folder)
    assert (last.name, last.holds) == ("outputs", False)
    assert last.detail.startswith("does not run: it runs on an NVIDIA GPU")


def test_an_export_for_the_processor_has_no_such_lines(tmp_path: Path) -> None:
    candidate, folder = tmp_path / "candidate", tmp_path / "export"
    candidate.mkdir()
    record(device="cpu").write(candidate)
    copy_candidate(candidate, folder, configuration(device="cpu"), interface_of("tensors"))
    assert "NVIDIA" not in (folder / RUN_SCRIPT).read_text()


class OnGpu(TensorEndpoint):
    """A model that takes 700 MB of a GPU while it is open, and measures a fact at each reading."""

    readings = 0

    def __init__(self, gpu: FakeGpu) -> None:
        gpu.processes[os.getpid()] = 700

    def call(self, inputs: Inputs) -> Sequence[Array]:
        return [inputs["x"] * 2]

    def facts(self) -> Facts:
        OnGpu.readings += 1
        return {"device": "cuda", GPUS: f"GPU-{self.readings}", COPY_SHARE: 0.1 * self.readings}


def test_the_memory_of_verification_is_that_on_the_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is measured at each reading, and the GPU itself, are no choices that stay the same."""
    gpu = FakeGpu(uuid="GPU-a", processes={1: 5000})
    FakeNvml([gpu]).install(monkeypatch)
    monkeypatch.setattr(verification, "open_candidate", lambda folder: OnGpu(gpu))
    here = replace(HERE, gpus=(GPU,))
    monkeypatch.setattr(verification, "detect_hardware", lambda: here)
    record().write(tmp_path)
    one = np.ones((1, 3), dtype=np.float32)
    interface_of("tensors").write_sample({"x": one}, [one * 2], tmp_path)
    sample = verification.run_sample(tmp_path, 0.01)
    assert sample.values["gpu_memory_mb"] == 700
    fields = {"facts": dict(sample.facts), "sample_values": dict(sample.values)}
    write_manifest(tmp_path, {**fields, "hardware": {"fingerprint": here.fingerprint}})
    checks = {check.name: check for check in run_verification(tmp_path, 0.01)}
    assert checks["choices"].holds, checks["choices"].detail
    assert checks["gpu_memory_mb"].holds
