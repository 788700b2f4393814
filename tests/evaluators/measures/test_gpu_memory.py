"""Memory on GPUs: by process where ids are visible, by the growth of the devices where not."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.measures import gpu, gpu_memory
from tunefront.evaluators.measures.base import Reading
from tunefront.evaluators.measures.gpu_memory import GpuMemory, allocator_peaks
from tunefront.evaluators.statistics.timing import Timing
from tunefront.spaces import Gpu, detect_hardware

NO_TURNS = Timing(blocks=(), items=1)


@pytest.fixture(autouse=True)
def trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 10 has the child 11; the others have none. All started with their GPU's name."""
    started = {10: "GPU-a", 20: "GPU-a", 30: "GPU-a,GPU-b", 40: ""}
    monkeypatch.setattr(gpu, "started_with", lambda pid, name: started.get(pid))
    monkeypatch.setattr(
        gpu_memory, "with_descendants", lambda pid: [pid, 11] if pid == 10 else [pid]
    )


def values(reading: Reading) -> Mapping[str, float]:
    return {name: found.value for name, found in reading.measurements(NO_TURNS).items()}


def test_a_candidate_without_a_gpu_has_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be compared with those on GPUs."""
    FakeNvml([FakeGpu(uuid="GPU-a", processes={9: 700})]).install(monkeypatch)
    reading = GpuMemory().start([40], [])
    reading.before_block()
    reading.after_block([])
    assert values(reading) == {"gpu_memory_mb": 0, "gpu_allocated_mb": 0, "gpu_device_mb": 0}
    machine = replace(detect_hardware(), gpus=(Gpu(name="A", memory_mb=1, capability=(9, 0)),))
    configuration = builtin_catalog().complete({})
    assert GpuMemory().obstacle(machine, configuration) is None
    without = replace(machine, gpus=())
    assert GpuMemory().obstacle(without, configuration) == "this machine has no GPU"


def test_it_is_that_of_all_processes_with_their_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most after any work, whatever took it, and none of other processes."""
    one = FakeGpu(uuid="GPU-a", processes={9: 700})
    FakeNvml([one]).install(monkeypatch)
    reading = GpuMemory().start([10], [])
    reading.before_work()
    one.processes |= {10: 500, 11: 100}
    reading.after_work()
    assert values(reading) == {"gpu_memory_mb": 600}
    for taken in (1500, 900):
        reading.before_block()
        one.processes |= {10: taken, 9: 2 * taken}
        reading.after_block([])
    assert values(reading) == {"gpu_memory_mb": 1600}


def test_ranks_and_replicas_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b")]
    FakeNvml(pair).install(monkeypatch)
    reading = GpuMemory().start([30], [])
    reading.before_work()
    pair[0].processes, pair[1].processes = {30: 400}, {30: 300}
    reading.after_work()
    assert values(reading) == {"gpu_memory_mb": 700}


def test_an_engine_s_processes_count_from_when_they_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = FakeGpu(uuid="GPU-a", processes={20: 800})
    FakeNvml([one]).install(monkeypatch)
    reading = GpuMemory().start([40], [])
    reading.watch([20])
    assert values(reading) == {"gpu_memory_mb": 800}


def test_where_ids_are_hidden_the_growth_while_it_works_tells_two_candidates_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They load, warm up and run one after another; another process grows in between."""
    one = FakeGpu(uuid="GPU-a", hidden=True, processes={9: 100})
    FakeNvml([one]).install(monkeypatch)
    first, second = (GpuMemory().start([pid], []) for pid in (10, 20))
    for reading, pid, steps in ((first, 10, (500, 700)), (second, 20, (2000, 2400))):
        for taken in steps:
            reading.before_work()
            one.processes[pid] = taken
            reading.after_work()
    one.processes[9] = 5000
    first.before_block()
    one.processes[10] = 1000
    first.after_block([])
    second.before_block()
    one.processes[20] = 2300
    second.after_block([])
    assert values(first) == {"gpu_memory_mb": 1000}
    assert values(second) == {"gpu_memory_mb": 2400}


def test_what_can_not_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    one = FakeGpu(uuid="GPU-a", unsupported={"nvmlDeviceGetMemoryInfo"}, hidden=True)
    FakeNvml([one]).install(monkeypatch)
    reading = GpuMemory().start([10], [])
    reading.before_work()
    reading.after_work()
    reading.take_reports([{"gpu_allocated_mb": 3.0}])
    assert values(reading) == {"gpu_allocated_mb": 3.0}


def test_what_torch_knows_is_summed_over_the_processes_if_all_report_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeNvml([FakeGpu(uuid="GPU-a")]).install(monkeypatch)
    reading = GpuMemory().start([10], [])
    reading.take_reports([{"gpu_allocated_mb": 3.0}, {"gpu_allocated_mb": 4.0}])
    assert values(reading)["gpu_allocated_mb"] == 7.0
    reading.take_reports([{"gpu_allocated_mb": 3.0}, {}])
    assert "gpu_allocated_mb" not in values(reading)


def fake_torch(monkeypatch: pytest.MonkeyPatch, *, used: bool = True, ranks: bool = False) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: used,
        device_count=lambda: 2,
        max_memory_allocated=lambda gpu: (gpu + 1) * 2**20,
        max_memory_reserved=lambda gpu: (gpu + 2) * 2**20,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    distributed = SimpleNamespace(is_initialized=lambda: ranks)
    monkeypatch.setitem(sys.modules, "torch.distributed", distributed)


def test_torch_s_peaks_are_summed_over_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_torch(monkeypatch)
    assert allocator_peaks() == {"gpu_allocated_mb": 3.0, "gpu_device_mb": 5.0}


def test_torch_s_peaks_are_not_those_of_one_rank_or_of_a_process_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_torch(monkeypatch, ranks=True)
    assert allocator_peaks() == {}
    fake_torch(monkeypatch, used=False)
    assert allocator_peaks() == {}
    monkeypatch.setitem(sys.modules, "torch", None)
    assert allocator_peaks() == {}
