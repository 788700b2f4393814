"""State of GPUs around turns: what the driver held down, and what others used meanwhile."""

import os
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pynvml
import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators.measures import gpu, gpu_state
from tunefront.evaluators.measures.gpu_state import GpuState
from tunefront.evaluators.statistics.timing import CLEAN_WAIT, Block, Timing

BLOCK = Block(request_s=np.ones((1, 1)), cpu_s=1.0, wait_s=0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(time, "perf_counter", lambda: found.now_s)
    monkeypatch.setattr(time, "time_ns", lambda: int(found.now_s * 1e9))
    monkeypatch.setattr(gpu, "started_with", lambda pid, name: "GPU-0")
    monkeypatch.setattr(gpu_state, "with_descendants", lambda pid: [pid])
    return found


def test_reduced_clocks_are_shares_of_the_turns(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens between turns, such as in another candidate's, does not count."""
    device = FakeGpu(temperature_c=50)
    FakeNvml([device]).install(monkeypatch)
    reading = GpuState().start([1], [])
    assert reading.state() == {}
    for turn, mhz in enumerate((1900, 1700, 1800)):
        device.violations_ns[pynvml.NVML_PERF_POLICY_POWER] = 10**12 * (turn + 1)
        reading.before_block()
        clock.now_s += 2.0
        device.violations_ns[pynvml.NVML_PERF_POLICY_POWER] += 500_000_000
        device.clock_mhz, device.temperature_c = mhz, 60 + turn
        reading.after_block([BLOCK])
    assert reading.state() == {
        "gpu_clock_mhz": 1800,
        "gpu_temperature_c": 62,
        "gpu_power_throttled": pytest.approx(0.25),
        "gpu_heat_throttled": 0.0,
        "gpu_processes": 0,
        "gpu_foreign": 0.0,
    }


def test_other_processes_are_not_those_of_the_benchmark(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FakeGpu(processes={1: 10, os.getpid(): 10, 9: 10, 8: 10})
    FakeNvml([device]).install(monkeypatch)
    reading = GpuState().start([1], [])
    shares: list[float] = []
    for percent in (0, 40):
        reading.before_block()
        clock.now_s += 1.0
        at = int(clock.now_s * 1e6)
        device.samples = [*device.samples, (at, 9, percent), (at, 1, 50)]
        reading.after_block([BLOCK])
        shares.append(reading.foreign())
    assert shares == pytest.approx([0.0, 0.4])
    found = reading.state()
    assert found["gpu_processes"] == 2
    assert found["gpu_foreign"] == pytest.approx(0.2)


def test_a_turn_in_which_others_use_the_gpu_is_disturbed() -> None:
    assert replace(BLOCK, foreign=CLEAN_WAIT).clean
    shared = replace(BLOCK, foreign=CLEAN_WAIT + 0.01)
    assert not shared.clean
    assert Timing(blocks=[[BLOCK], [shared]], items=1).clean.tolist() == [True, False]


def test_values_that_the_driver_does_not_tell_are_left_out(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsupported = {
        "nvmlDeviceGetViolationStatus",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        "nvmlDeviceGetClockInfo",
    }
    device = FakeGpu(unsupported=unsupported, hidden=True)
    FakeNvml([device]).install(monkeypatch)
    reading = GpuState().start([1], [])
    reading.before_block()
    reading.after_block([BLOCK])
    assert reading.state() == {"gpu_temperature_c": 40, "gpu_processes": 0, "gpu_foreign": 0.0}


def test_without_counters_the_ends_of_turns_count(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FakeGpu(unsupported={"nvmlDeviceGetViolationStatus"})
    FakeNvml([device]).install(monkeypatch)
    reading = GpuState().start([1], [])
    power = pynvml.nvmlClocksThrottleReasonSwPowerCap
    for reasons in (0, power, pynvml.nvmlClocksThrottleReasonGpuIdle, power):
        reading.before_block()
        clock.now_s += 1.0
        device.throttle_reasons = reasons
        reading.after_block([BLOCK])
    found = reading.state()
    assert (found["gpu_power_throttled"], found["gpu_heat_throttled"]) == (0.5, 0.0)


def test_a_candidate_without_a_gpu_has_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml([FakeGpu()]).install(monkeypatch)
    monkeypatch.setattr(gpu, "started_with", lambda pid, name: "")
    reading = GpuState().start([1], [])
    reading.before_block()
    reading.after_block([BLOCK])
    assert (reading.state(), reading.foreign()) == ({}, 0.0)
