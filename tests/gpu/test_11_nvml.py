"""NVML's counters in load, and a GPU that is named by its UUID."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators import BUILTIN_MEASURES

from .harness import Bench, CheckFigures, Mode, body, values_of
from .workloads import custom_spec

PROGRAM = """
import json
from tunefront.spaces import detect_hardware
print(json.dumps([gpu.uuid for gpu in detect_hardware().gpus]))
"""


@pytest.mark.takes(9)
def test_energy_power_and_clock_agree(figures: CheckFigures, mode: Mode) -> None:
    mode.need_gpu("its counters are those of NVML")
    found = body("energy", seconds=6.0, width=8192)
    figures(**found)
    assert found["uuid"] == mode.uuid
    assert found["steps"] > 2
    assert found["clock_mhz"] > 0
    expected = found["power_w"] * found["counted_s"]
    assert found["joules"] == pytest.approx(expected, rel=0.15)


@pytest.mark.takes(18)
def test_a_trial_has_its_energy(figures: CheckFigures, bench: Bench, custom_folder: Path) -> None:
    """Blocks are long enough for the counter: joules an item are power times time."""
    bench.mode.need_gpu("its counters are those of NVML")
    spec = custom_spec(custom_folder, "products", "for_products")
    chosen = bench.mode.configuration(precision="bf16", batch_size=8)
    found = bench.evaluate(bench.settings(spec), chosen, BUILTIN_MEASURES)
    figures(**values_of(found))
    assert found.status == "ok", (found.message, found.log)
    joules = found.measurements["energy_per_item"]
    power_w = joules.value * found.measurements["throughput"].value
    figures(power_w=power_w)
    assert 50 < power_w < 1500
    assert joules.low <= joules.value <= joules.high


@pytest.mark.takes(3)
def test_a_uuid_names_one_gpu(figures: CheckFigures, mode: Mode) -> None:
    mode.need_gpu("it has a UUID")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": mode.uuid}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    figures(found=json.loads(done.stdout))
    assert json.loads(done.stdout) == [mode.uuid]
