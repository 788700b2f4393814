"""GPUs in the warnings of an evaluation: doubt where the two sides of a ratio differ."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tunefront.evaluators import InterleavedRun, Protocol, TargetResult, Timing
from tunefront.evaluators.benchmark.outcome import gpu_warnings, measured, warnings_of
from tunefront.evaluators.statistics.timing import Block

State = Mapping[str, float] | None
BLOCK = Block(request_s=np.ones((1, 1)), cpu_s=1.0, wait_s=0.0)
POWER, HEAT = "gpu_power_throttled", "gpu_heat_throttled"


@pytest.mark.parametrize(
    ("own", "beside", "told"),
    [
        ({}, None, ()),
        ({POWER: 0.9}, None, ()),  # normal in large products
        ({POWER: 0.9}, {POWER: 0.85}, ()),
        (
            {POWER: 0.9},
            {POWER: 0.2},
            (
                "the GPU's clock was held down for power in 90 % of its turns' time, "
                "and in 20 % of the baseline's",
            ),
        ),
        (
            {HEAT: 0.05, POWER: 0.0},
            {HEAT: 0.3, POWER: 0.0},
            (
                "the GPU's clock was held down for heat in 5 % of its turns' time, and in 30 % of "
                "the baseline's",
            ),
        ),
        ({HEAT: 0.05}, None, ()),
        (
            {HEAT: 0.3},
            None,
            ("the GPU's clock was held down for heat in 30 % of its turns' time",),
        ),
        ({"gpu_clock_mhz": 1900}, {"gpu_clock_mhz": 1850}, ()),
        (
            {"gpu_clock_mhz": 1500},
            {"gpu_clock_mhz": 1900},
            ("the GPU's clock was 1,500 MHz in its turns and 1,900 MHz in the baseline's",),
        ),
        ({"gpu_foreign": 0.1}, None, ()),
        ({"gpu_foreign": 0.25}, None, ("other processes used 25 % of the GPU",)),
    ],
)
def test_a_clock_is_doubted_where_the_sides_differ(
    own: Mapping[str, float], beside: State, told: tuple[str, ...]
) -> None:
    assert gpu_warnings(own, beside) == told


def result(**state: float) -> TargetResult:
    timing = Timing(blocks=[[BLOCK]] * 7, items=1)
    return TargetResult(timing=timing, measurements={}, facts={}, state=state)


def test_the_state_of_the_candidate_s_gpus_is_recorded_beside_the_machine_s() -> None:
    both = [result(gpu_clock_mhz=1500.0), result(gpu_clock_mhz=1900.0)]
    run = InterleavedRun(target_results=both, machine={"load": 1.0}, waited_s=0.0)
    found = measured(Protocol(), run)
    assert found.machine == {"load": 1.0, "gpu_clock_mhz": 1500.0}
    assert found.warnings == gpu_warnings(both[0].state, both[1].state) != ()


def test_turns_on_a_gpu_that_others_use_are_told_as_disturbed() -> None:
    blocks = [[replace(BLOCK, foreign=0.5)]] * 5 + [[BLOCK]] * 2
    timing = Timing(blocks=blocks, items=1)
    assert warnings_of(timing, Protocol(), None) == (
        "other processes used the cores or the GPU in 5 of 7 turns",
    )
