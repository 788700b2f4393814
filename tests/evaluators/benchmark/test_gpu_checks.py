"""Other processes on a GPU are waited for; a GPU on which a probe fails is set aside."""

import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    Target,
    WorkloadSpec,
    builtin_catalog,
)
from tunefront.evaluators.benchmark import gpu_checks as module
from tunefront.evaluators.benchmark.gpu_checks import gpus_probed, probed_error, wait_for_gpus
from tunefront.evaluators.benchmark.interleaved import _Benchmark
from tunefront.evaluators.isolation.call import function_name
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.isolation.gpus import gpus_set_aside
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.pipelines.gpu_check import (
    GpuCheck,
    GpuCheckRequest,
    check_visible_gpus,
)
from tunefront.spaces import EvaluationError, FailureCause

OWN = os.getpid()
OTHER = 2**22 + 1
"""No process has this id."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNEFRONT_LEASES", str(tmp_path / "leases"))
    monkeypatch.setattr(module, "SAMPLE_PERIOD_S", 0.1)
    monkeypatch.setattr(module, "GPU_POLL_S", 0.02)


@pytest.mark.parametrize(
    ("gpu", "shared"),
    [
        (FakeGpu(), False),
        (FakeGpu(processes={OWN: 100}, utilization=90), False),  # the last of its own work
        (FakeGpu(processes={OWN: 100, OTHER: 100}), False),  # an idle one, such as a desktop
        (FakeGpu(processes={OWN: 100, OTHER: 100}, utilization=90), True),
        (FakeGpu(processes={OTHER: 100}, hidden=True, utilization=90), True),
        (FakeGpu(processes={OTHER: None}, utilization=90), True),  # ids of the host
        (FakeGpu(lost=True), False),
    ],
)
def test_other_processes_that_work_on_a_gpu_are_noticed(
    monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu, shared: bool
) -> None:
    FakeNvml([gpu, FakeGpu(uuid="GPU-1")]).install(monkeypatch)
    found = wait_for_gpus(["GPU-0", "GPU-1"], [OWN], 0.0)
    assert found.shared is shared
    assert (found.seconds >= 0.1) is shared


def test_they_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(processes={OWN: 100, OTHER: 100}, utilization=90)
    FakeNvml([gpu]).install(monkeypatch)
    timer = threading.Timer(0.1, lambda: gpu.processes.pop(OTHER))
    timer.start()
    found = wait_for_gpus(["GPU-0"], [], 60.0)
    timer.join()
    assert not found.shared
    assert 0.05 < found.seconds < 50


class Probes:
    """An isolation whose probes fail on some GPUs."""

    def __init__(self, devices: tuple[str, ...], broken: set[str]) -> None:
        self.devices = devices
        self.probed: list[str] = []
        self._broken = broken

    def on_terms(self, terms: object) -> Any:
        return nullcontext()

    def run(self, task: Task[Any]) -> dict[str, tuple[str, ...]]:
        assert task.function == function_name(check_visible_gpus)
        [device] = task.devices
        self.probed.append(device)
        if device == "GPU-slow":
            raise EvaluationError("not done after 120 s", cause="timeout")
        return {"problems": ("CUDA error: unknown error",) if device in self._broken else ()}


@pytest.mark.parametrize("cause", ["crash", "device", "timeout"])
def test_a_gpu_on_which_a_probe_fails_is_set_aside(cause: FailureCause, tmp_path: Path) -> None:
    probes = Probes(("GPU-0", "GPU-1"), {"GPU-1"})
    error = EvaluationError("crashed with SIGABRT", cause=cause)
    found = probed_error(cast(Isolation, probes), tmp_path / "log", error)
    assert probes.probed == ["GPU-0", "GPU-1"]
    assert (found.cause, str(found)) == (
        "device",
        "GPU-1 was set aside, since a probe failed on it: CUDA error: unknown error; "
        "the failure was: crashed with SIGABRT",
    )
    assert gpus_set_aside() == {"GPU-1": "CUDA error: unknown error"}


def test_a_gpu_on_which_a_probe_does_not_end_is_set_aside(tmp_path: Path) -> None:
    error = EvaluationError("not done after 900 s", cause="timeout")
    probes = cast(Isolation, Probes(("GPU-slow",), set()))
    assert probed_error(probes, tmp_path / "log", error).cause == "device"
    assert gpus_set_aside() == {"GPU-slow": "not done after 120 s"}


def test_the_probe_is_a_task_that_the_codec_can_pass() -> None:
    assert from_plain(GpuCheckRequest, to_plain({"expected": 1})) == GpuCheckRequest(expected=1)
    plain = to_plain(GpuCheck(problems=("lost",)))
    assert from_plain(dict[str, tuple[str, ...]], plain) == {"problems": ("lost",)}


@pytest.mark.parametrize(
    ("devices", "cause"), [(("GPU-0",), "oom"), (("GPU-0",), "unsupported"), ((), "crash")]
)
def test_other_failures_are_not_probed(
    devices: tuple[str, ...], cause: FailureCause, tmp_path: Path
) -> None:
    probes = Probes(devices, {"GPU-0"})
    error = EvaluationError("too large", cause=cause)
    assert probed_error(cast(Isolation, probes), tmp_path / "log", error) is error
    assert probes.probed == []


def test_a_failure_on_a_sound_gpu_stays_as_it_is(tmp_path: Path) -> None:
    probes = cast(Isolation, Probes(("GPU-0",), set()))
    error = EvaluationError("crashed with SIGSEGV", cause="crash")
    with pytest.raises(EvaluationError) as raised, gpus_probed(probes, tmp_path / "log"):
        raise error
    assert raised.value is error
    assert gpus_set_aside() == {}


@pytest.mark.parametrize(
    ("choices", "devices"),
    [
        ({"replicas": 2}, [("GPU-0",), ("GPU-1",)]),
        ({"tensor_parallel": 2}, [("GPU-0", "GPU-1")]),
        ({"replicas": 2, "tensor_parallel": 2}, [("GPU-0", "GPU-1"), ("GPU-2", "GPU-3")]),
        ({"replicas": 2, "device": "cpu"}, [(), ()]),
    ],
)
def test_each_replica_has_devices_of_its_own(
    choices: dict[str, Any], devices: list[tuple[str, ...]], task_of: Callable[..., Task[Any]]
) -> None:
    """And cores of its own, in the same order."""
    tasks = [task_of(replica, choices) for replica in range(len(devices))]
    assert [task.devices for task in tasks] == devices
    cores = [core for task in tasks for core in task.cores]
    assert cores == list(range(len(cores)))
    for task, own in zip(tasks, devices, strict=True):
        assert task.environment_of(0, Path("x"))["CUDA_VISIBLE_DEVICES"] == ",".join(own)


@pytest.fixture
def task_of(tmp_path: Path) -> Callable[..., Task[Any]]:
    """The task of a replica, in a lease of four GPUs and cores."""
    spec = WorkloadSpec(task="causal-lm", model="m", data="d", folder=str(tmp_path))
    settings = EvaluationSettings(workload=spec, fingerprint="f", store=str(tmp_path))

    def make(replica: int, choices: dict[str, Any]) -> Task[Any]:
        configuration = builtin_catalog().complete({"device": "cuda", "threads": 1, **choices})
        target = Target(configuration=configuration, candidate=tmp_path, requests=tmp_path)
        leased = cast(Any, Probes(("GPU-0", "GPU-1", "GPU-2", "GPU-3"), set()))
        channel = cast(Any, type("Channel", (), {"address": "turns"}))
        benchmark = _Benchmark(settings, leased, channel, range(4), ())
        return benchmark._task(target, replica, replica, tmp_path / "log", ())

    return make
