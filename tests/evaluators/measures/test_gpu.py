"""GPUs through NVML: nothing without one, the sums and the worst of a made-up pair."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tunefront.evaluators.measures.gpu import GpuMemory, Gpus, gpu_memory_mb
from tunefront.evaluators.statistics.timing import Timing

HOT = 8


class MadeUpError(Exception):
    """NVML's."""


def raises(*_: object) -> object:
    raise MadeUpError


def nvml(**changes: Any) -> SimpleNamespace:
    """NVML with two GPUs, of which the second one is hot and shared."""
    made: dict[str, Any] = {
        "NVMLError": MadeUpError,
        "NVML_CLOCK_SM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlClocksThrottleReasonSwPowerCap": 4,
        "nvmlClocksThrottleReasonHwSlowdown": HOT,
        "nvmlClocksThrottleReasonSwThermalSlowdown": 32,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda gpu: ["GPU-a", "GPU-b"][gpu],
        "nvmlDeviceGetMigMode": raises,
        "nvmlDeviceGetTotalEnergyConsumption": lambda gpu: [1500, 4000][gpu],
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda gpu: [1, HOT][gpu],
        "nvmlDeviceGetClockInfo": lambda gpu, kind: [1900, 1200][gpu],
        "nvmlDeviceGetTemperature": lambda gpu, kind: [40, 85][gpu],
        "nvmlDeviceGetComputeRunningProcesses": lambda gpu: [["own"], ["own", "other"]][gpu],
    }
    return SimpleNamespace(**{**made, **changes})


def install(monkeypatch: pytest.MonkeyPatch, visible: str | None = None, **changes: Any) -> Gpus:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(**changes))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    return Gpus()


def test_without_the_package_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpus = Gpus()
    assert gpus.joules() is None
    assert gpus.state() == {}


def test_without_a_driver_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = install(monkeypatch, nvmlInit=raises)
    assert gpus.joules() is None
    assert gpus.state() == {}


@pytest.mark.parametrize(
    ("visible", "joules"),
    [(None, 5.5), ("0", 1.5), ("1", 4.0), ("0, 1", 5.5), ("GPU-b", 4.0), ("", None)],
)
def test_only_gpus_that_this_process_may_use_count(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, joules: float | None
) -> None:
    assert install(monkeypatch, visible).joules() == joules


def test_a_gpu_that_counts_no_energy_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def counter(gpu: int) -> float:
        if gpu == 0:
            raise MadeUpError
        return 4000

    gpus = install(monkeypatch, nvmlDeviceGetTotalEnergyConsumption=counter)
    assert gpus.joules() == 4.0


def test_the_state_is_the_worst_gpu_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert install(monkeypatch).state() == {
        "gpu_clock_mhz": 1200,
        "gpu_temperature_c": 85,
        "gpu_throttled": 1,
        "gpu_processes": 2,
    }
    assert install(monkeypatch, "0").state()["gpu_throttled"] == 0


def test_a_state_that_can_not_be_read_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert install(monkeypatch, nvmlDeviceGetTemperature=raises).state() == {}


def test_memory_on_gpus_is_empty_where_torch_used_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert gpu_memory_mb() == {}
    cuda = SimpleNamespace(is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert gpu_memory_mb() == {}


def test_memory_on_gpus_is_the_sum_of_their_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        max_memory_allocated=lambda gpu: (gpu + 1) * 2**20,
        max_memory_reserved=lambda gpu: (gpu + 2) * 2**20,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert gpu_memory_mb() == {"gpu_allocated_mb": 3.0, "gpu_device_mb": 5.0}


def test_memory_on_gpus_is_summed_over_the_processes_that_report_it() -> None:
    reading, timing = GpuMemory().start([1, 2], []), Timing(blocks=(), items=1)
    assert reading.measurements(timing) == {}
    reading.take_reports([{"gpu_allocated_mb": 3.0}, {"gpu_allocated_mb": 4.0}])
    found = reading.measurements(timing)
    assert {name: figure.value for name, figure in found.items()} == {"gpu_allocated_mb": 7.0}
    reading.take_reports([{"gpu_allocated_mb": 3.0}, {}])
    assert reading.measurements(timing) == {}
