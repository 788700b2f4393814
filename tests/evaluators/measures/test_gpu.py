"""GPUs through NVML: nothing without one, the sums and the worst of several, own ones by name."""

import subprocess
import sys

import pynvml
import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.measures import gpu
from tunefront.evaluators.measures.gpu import Gpus, gpu_obstacle, gpus_of, runs_on_gpu
from tunefront.evaluators.measures.processes import started_with


@pytest.fixture
def pair() -> list[FakeGpu]:
    """Two GPUs, of which the second is hot and shared with process 9."""
    return [
        FakeGpu(uuid="GPU-a", energy_mj=1500, memory_mb=1000, processes={1: 300}, clock_mhz=1900),
        FakeGpu(
            uuid="GPU-b",
            energy_mj=4000,
            memory_mb=1000,
            processes={2: 100, 9: 50},
            clock_mhz=1200,
            temperature_c=85,
            violations_ns={pynvml.NVML_PERF_POLICY_THERMAL: 7},
        ),
    ]


def test_without_the_package_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert (len(Gpus()), Gpus().joules(), Gpus().free_mb()) == (0, None, None)


def test_without_a_driver_there_is_nothing(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    FakeNvml(pair, init_error=missing).install(monkeypatch)
    assert (len(Gpus()), Gpus().joules(), Gpus().memory_of({1})) == (0, None, None)


@pytest.mark.parametrize(
    ("visible", "joules"),
    [(None, 5.5), ("0", 1.5), ("1", 4.0), ("0, 1", 5.5), ("GPU-b", 4.0), ("", None)],
)
def test_only_gpus_that_this_process_may_use_count(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch, visible: str | None, joules: float | None
) -> None:
    FakeNvml(pair).install(monkeypatch, visible)
    assert Gpus().joules() == joules


@pytest.mark.parametrize(
    ("names", "joules"),
    [(["GPU-b"], 4.0), (["1", "GPU-a"], 5.5), (["GPU-gone"], None), ([], None)],
)
def test_gpus_are_found_by_name_whatever_is_visible(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch, names: list[str], joules: float | None
) -> None:
    FakeNvml(pair).install(monkeypatch, "")
    assert Gpus(names).joules() == joules


def test_a_gpu_that_does_not_support_a_call_is_left_out(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml(pair).install(monkeypatch)
    pair[0].unsupported = {"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetMemoryInfo"}
    assert Gpus().joules() == 4.0
    assert Gpus().used_mb() is None  # a part of the sum would be no sum


def test_an_instance_has_memory_and_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = FakeGpu(uuid="MIG-1", processes={5: 70})
    FakeNvml([FakeGpu(instances=[instance])]).install(monkeypatch)
    found = Gpus(["MIG-1"])
    assert found.memory_of({5}) == 70
    assert found.joules() is None
    assert found.conditions(()).clock_mhz is None


def test_the_emptiest_gpus_are_those_that_can_be_used(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml(pair).install(monkeypatch)
    assert Gpus().used_mb() == 2 * 500 + 300 + 150
    assert Gpus().free_mb() == Gpus().free_mb(2) == 1000 - 500 - 300
    assert Gpus().free_mb(1) == 1000 - 500 - 150


def test_memory_is_that_of_the_processes_on_all_their_gpus(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml(pair).install(monkeypatch)
    assert Gpus().memory_of({1, 2, 77}) == 400
    assert Gpus().memory_of({77}) is None
    pair[0].processes[1] = None
    assert Gpus().memory_of({1, 2}) is None
    pair[1].hidden = True
    assert Gpus().memory_of({2}) is None


def test_conditions_are_the_worst_gpu_s(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml(pair).install(monkeypatch)
    found = Gpus().conditions({1, 2})
    assert (found.clock_mhz, found.temperature_c) == (1200, 85)
    assert (found.power_ns, found.heat_ns, found.processes) == (0, 7, 1)
    pair[1].lost = pair[0].lost = True
    gone = Gpus(["GPU-a"]).conditions(())
    assert (gone.clock_mhz, gone.heat_ns, gone.processes) == (None, None, None)


def test_others_share_is_the_mean_of_the_samples_of_the_gpu_with_most(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml(pair).install(monkeypatch)
    pair[0].samples = [(50, 9, 100), (110, 1, 90), (120, 9, 20), (120, 1, 70)]
    pair[1].samples = [(110, 2, 50), (110, 9, 30), (110, 8, 10), (130, 2, 90)]
    assert Gpus().foreign_share({1, 2}, 100) == pytest.approx(0.2)
    assert Gpus(["GPU-a"]).foreign_share({1, 2}, 100) == pytest.approx(0.1)
    assert Gpus().foreign_share({1, 2}, 200) == 0.0


def test_a_process_uses_the_gpus_that_it_started_with(
    pair: list[FakeGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml(pair).install(monkeypatch, "GPU-a")
    started: dict[int, str | None] = {1: "GPU-a", 2: "GPU-b, GPU-a", 3: "", 4: None}
    monkeypatch.setattr(gpu, "started_with", lambda pid, name: started[pid])
    assert [len(gpus_of(pids)) for pids in ([1], [1, 2], [3], [4], [1, 4])] == [1, 2, 0, 1, 1]


def test_the_environment_of_a_process_is_read_from_outside() -> None:
    command = [
        sys.executable,
        "-c",
        "import os; os.environ['OWN'] = 'new'; print(flush=True); input()",
    ]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"OWN": "a=b, c", "EMPTY": ""},
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "\n"  # it runs: before, the kernel has no environment of it
    try:
        assert started_with(child.pid, "OWN") == "a=b, c"
        assert started_with(child.pid, "EMPTY") == ""
        assert started_with(child.pid, "NONE") is None
    finally:
        child.communicate("\n")
    assert started_with(child.pid, "OWN") is None


def test_an_obstacle_names_what_is_missing() -> None:
    from dataclasses import replace

    from tunefront.spaces import Gpu, detect_hardware

    with_gpu = replace(detect_hardware(), gpus=(Gpu(name="A", memory_mb=1, capability=(9, 0)),))
    plain, on_gpu = (builtin_catalog().complete({"device": one}) for one in ("cpu", "cuda"))
    assert (runs_on_gpu(plain), runs_on_gpu(on_gpu)) == (False, True)
    assert gpu_obstacle(replace(with_gpu, gpus=()), None) == "this machine has no GPU"
    assert gpu_obstacle(with_gpu, plain) == "the configuration uses no GPU"
    assert gpu_obstacle(with_gpu, on_gpu) is None
