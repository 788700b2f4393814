"""NVML's counters in load, and a GPU that is named by its UUID."""

import json
import os
import subprocess
import sys

import pytest

from .harness import CheckFigures, Mode, body

PROGRAM = """
import json
from tunefront.spaces import detect_hardware
print(json.dumps([gpu.uuid for gpu in detect_hardware().gpus]))
"""


@pytest.mark.takes(10)
def test_energy_power_and_clock_agree(figures: CheckFigures, mode: Mode) -> None:
    mode.need_gpu("its counters are those of NVML")
    found = body("energy", seconds=6.0, width=8192)
    figures(**found)
    assert found["uuid"] == mode.uuid
    assert found["steps"] > 2
    assert found["clock_mhz"] > 0
    expected = found["power_w"] * found["counted_s"]
    assert found["joules"] == pytest.approx(expected, rel=0.15)


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
