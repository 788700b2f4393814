"""An export runs without Tunefront, is verified, and names what is missing without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators import WorkloadSpec, export_candidate
from tunefront.evaluators.exports.folder import RUN_SCRIPT, write_manifest
from tunefront.spaces import detect_hardware

from .harness import Bench, CheckFigures

VERIFICATION = "tunefront.evaluators.exports.verification"
MOST_DIFFERENCE = 5e-2


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param("torch", marks=pytest.mark.takes(10)),
        pytest.param("inductor", marks=pytest.mark.takes(16)),
    ],
)
def test_an_export_runs_and_is_verified(
    runtime: str,
    bench: Bench,
    workloads: dict[str, WorkloadSpec],
    tmp_path: Path,
    figures: CheckFigures,
) -> None:
    mode, folder = bench.mode, tmp_path / "export"
    folder.mkdir()
    chosen = mode.configuration(runtime=runtime, precision="bf16", batch_size=4)
    settings = bench.settings(workloads["encoder"])
    export_candidate(settings, chosen, bench.isolation, bench.log, folder)
    sample = python("-P", "-m", VERIFICATION, str(folder), "1", "--sample")
    figures(sample=sample.stdout[-2000:], error=sample.stderr[-2000:])
    assert sample.returncode == 0
    recorded = json.loads(sample.stdout.splitlines()[-1])
    hardware = {"fingerprint": detect_hardware().fingerprint}
    fields = {"facts": recorded["facts"], "sample_values": recorded["values"]}
    write_manifest(folder, {**fields, "hardware": hardware})
    ran = python("-I", str(folder / RUN_SCRIPT))
    verified = python("-P", "-m", VERIFICATION, str(folder), "1")
    figures(ran=ran.stdout + ran.stderr[-1000:], checks=verified.stdout[-3000:])
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout.split()[-1]) < MOST_DIFFERENCE
    assert verified.returncode == 0, verified.stdout
    if mode.on_gpu:
        blind = python("-I", str(folder / RUN_SCRIPT), CUDA_VISIBLE_DEVICES="")
        unverified = python("-P", "-m", VERIFICATION, str(folder), "1", CUDA_VISIBLE_DEVICES="")
        figures(without_a_gpu=[blind.stderr[-1000:], unverified.stdout[-1000:]])
        assert blind.returncode == 1
        assert blind.stderr.startswith("This model runs on an NVIDIA GPU: ")
        assert "none is visible here" in unverified.stdout
