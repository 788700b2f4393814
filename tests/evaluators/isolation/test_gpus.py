"""A GPU has one user at a time, in the order of requests; a broken one is left alone."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators.isolation import cores as cores_module
from tunefront.evaluators.isolation import gpus as module
from tunefront.evaluators.isolation.cores import CoreWait, Lessee
from tunefront.evaluators.isolation.gpus import (
    gpus_set_aside,
    lease_cores_and_gpus,
    lease_gpus,
    set_gpu_aside,
    take_gpu_back,
)
from tunefront.spaces import EvaluationError, Gpu

GPUS = [Gpu(name="H100", memory_mb=81_559, capability=(9, 0), uuid=f"GPU-{i}") for i in range(4)]
"""Four GPUs that no machine has."""


@pytest.fixture(autouse=True)
def own_leases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNEFRONT_LEASES", str(tmp_path / "leases"))
    FakeNvml([]).install(monkeypatch)


def names(gpus: Sequence[Gpu]) -> list[str]:
    return [gpu.uuid for gpu in gpus]


def test_leases_never_share_a_gpu() -> None:
    with lease_gpus(1, GPUS) as one, lease_gpus(2, GPUS) as two, lease_gpus(1, GPUS) as last:
        assert [names(one), names(two), names(last)] == [["GPU-0"], ["GPU-1", "GPU-2"], ["GPU-3"]]
        with pytest.raises(EvaluationError) as raised, lease_gpus(1, GPUS, deadline=0.0):
            pass
        assert raised.value.cause == "timeout"
    with lease_gpus(4, GPUS) as every:
        assert names(every) == names(GPUS)


def test_without_gpus_nothing_is_leased(tmp_path: Path) -> None:
    with lease_gpus(0, GPUS) as found:
        assert list(found) == []
    assert not (tmp_path / "leases").exists()


class GpuQueue:
    """Threads that lease some of four GPUs; each holds them until it is released."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.waits: dict[str, list[CoreWait | None]] = {}
        self._release: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def add(self, name: str, count: int) -> None:
        """Start a thread, and return when it leases or waits."""
        self._release[name], known = threading.Event(), threading.Event()
        self.waits[name] = []

        def on_wait(wait: CoreWait | None) -> None:
            self.waits[name].append(wait)
            known.set()

        def lease() -> None:
            with lease_gpus(count, GPUS, lessee=Lessee.this_process(name), on_wait=on_wait):
                self.order.append(name)
                known.set()
                self._release[name].wait()

        self._threads.append(threading.Thread(target=lease))
        self._threads[-1].start()
        assert known.wait(60)

    def release(self, *released: str) -> None:
        for name in released or self._release:
            self._release[name].set()

    def end(self) -> None:
        self.release()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuQueue]:
    monkeypatch.setattr(cores_module, "REPORT_POLL_S", 0.0)
    found = GpuQueue()
    yield found
    found.end()


def test_a_request_for_all_gpus_is_not_overtaken_by_later_ones_for_one(queue: GpuQueue) -> None:
    queue.add("holds", 1)
    queue.add("wide", 4)
    for name in ("a", "b", "c"):
        queue.add(name, 1)  # three GPUs are free, but `wide` came first
    assert queue.order == ["holds"]
    queue.release("holds")
    while "wide" not in queue.order:
        threading.Event().wait(0.01)
    assert queue.order == ["holds", "wide"]
    queue.end()
    assert sorted(queue.order[2:]) == ["a", "b", "c"]


def test_a_wait_names_what_holds_the_gpus_and_what_comes_first(queue: GpuQueue) -> None:
    queue.add("small c", 1)
    queue.add("wide", 4)
    queue.add("a", 1)
    pid = os.getpid()
    [first, second] = [queue.waits[name][0] for name in ("wide", "a")]
    assert first is not None and second is not None
    assert first.text == f"waiting for 4 GPUs; `small c` (pid {pid}) holds them"
    assert second.text == (
        f"waiting for 1 GPU; `small c` (pid {pid}) holds it; `wide` (pid {pid}) is next"
    )


def test_cores_come_after_gpus_and_from_near_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds cores never waits for GPUs."""
    usable = sorted(os.sched_getaffinity(0))
    driver = FakeNvml([FakeGpu(uuid="GPU-a", cpus={usable[-1]})]).install(monkeypatch)
    found = Gpu(name="A", memory_mb=1, capability=(9, 0), uuid="GPU-a", cpus=frozenset(usable[-1:]))
    machine = type("Machine", (), {"gpus": (found,)})
    monkeypatch.setattr(module, "detect_hardware", lambda: machine)
    with lease_cores_and_gpus(1, 1) as leased:
        assert leased.devices == ("GPU-a",)
        assert list(leased.cores) == usable[-1:]
    with lease_cores_and_gpus(1, 0) as leased:
        assert leased.devices == ()
        assert list(leased.cores) == usable[:1]
    assert driver.gpus[0].processes == {}


def test_a_broken_gpu_is_not_leased_until_it_is_tried_again() -> None:
    set_gpu_aside("GPU-0", "CUDA error: an illegal address")
    set_gpu_aside("MIG-GPU-1/2/0", "lost")  # the names of older drivers have slashes
    assert gpus_set_aside() == {
        "GPU-0": "CUDA error: an illegal address",
        "MIG-GPU-1/2/0": "lost",
    }
    with lease_gpus(1, GPUS) as found:
        assert names(found) == ["GPU-1"]
    with pytest.raises(EvaluationError) as raised, lease_gpus(4, GPUS):
        pass
    assert raised.value.cause == "device"
    text = "4 GPUs needed, but 3 can be used; GPU-0 was set aside: CUDA error: an illegal address"
    assert str(raised.value).startswith(text)
    set_gpu_aside("GPU-0", "broken", 0.0)
    with lease_gpus(4, GPUS) as found:
        assert names(found) == names(GPUS)
    set_gpu_aside("GPU-0", "broken")
    for name in ("GPU-0", "GPU-never-set-aside"):
        take_gpu_back(name)
    assert gpus_set_aside() == {"MIG-GPU-1/2/0": "lost"}


def test_without_a_gpu_a_request_for_one_fails_at_once() -> None:
    told = "^1 GPU needed, but 0 can be used$"
    with pytest.raises(EvaluationError, match=told) as raised, lease_gpus(1, []):
        pass
    assert raised.value.cause == "device"


@pytest.mark.parametrize("comes_back", [True, False])
def test_memory_of_killed_processes_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """The driver takes seconds to free it; a wait for ever would stop the search."""
    gpu = FakeGpu(uuid="GPU-0", processes={1: 2000})
    FakeNvml([gpu]).install(monkeypatch)
    monkeypatch.setattr(module, "MEMORY_BACK_S", 60.0 if comes_back else 0.3)
    start = time.monotonic()
    with lease_gpus(1, GPUS):
        gpu.processes[2] = 5000
        timer = threading.Timer(0.3, gpu.processes.clear if comes_back else lambda: None)
        timer.start()
    taken = time.monotonic() - start
    timer.join()
    assert 0.25 < taken < 50
    assert bool(gpu.processes) is not comes_back


def test_a_gpu_that_can_not_be_read_is_leased_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml([FakeGpu(uuid="GPU-0", lost=True)]).install(monkeypatch)
    with lease_gpus(1, GPUS) as found:
        assert names(found) == ["GPU-0"]
