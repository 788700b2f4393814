"""What a machine offers: its fingerprint, its summary, and this machine as it is."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pynvml
import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.spaces import Gpu, Hardware, detect_hardware, hardware
from tunefront.spaces.hardware import LIBRARIES, offered_cores
from tunefront.spaces.machine.control_groups import Limits
from tunefront.spaces.machine.distributions import SUBSTITUTES

MachineOf = Callable[..., Hardware]
GPU = Gpu(name="A", memory_mb=1024, capability=(8, 0))


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": "Another"},
        {"cores": 2},
        {"physical_cores": 8},
        {"isa": frozenset({"avx2"})},
        {"gpus": (GPU,)},
    ],
)
def test_another_kind_of_machine_has_another_fingerprint(
    machine: MachineOf, change: dict[str, object]
) -> None:
    assert machine(**change).fingerprint != machine().fingerprint


@pytest.mark.parametrize(
    "change", [{"libraries": {}}, {"memory_mb": 1}, {"limits": Limits(cores=16, memory_mb=1)}]
)
def test_libraries_and_memory_are_no_part_of_the_fingerprint(
    machine: MachineOf, change: dict[str, object]
) -> None:
    assert machine(**change).fingerprint == machine().fingerprint


def test_the_fingerprint_depends_on_the_kind_of_gpus_and_not_on_their_number(
    machine: MachineOf,
) -> None:
    other = replace(GPU, uuid="GPU-1", driver="580", cpus=frozenset({1}))
    one = machine(gpus=(GPU,)).fingerprint
    assert machine(gpus=(GPU, other)).fingerprint == one
    assert machine(gpus=(replace(GPU, name="B"),)).fingerprint != one


def test_the_summary_is_one_line_for_people(machine: MachineOf) -> None:
    assert machine().summary() == "Made-up CPU, 16 cores, 64 GiB, Made-up GPU"
    assert machine(gpus=()).summary() == "Made-up CPU, 16 cores, 64 GiB, no GPU"
    assert machine(gpus=(GPU, GPU)).summary().endswith(" GiB, 2 x A")
    other = replace(GPU, name="B")
    assert machine(gpus=(GPU, other, GPU)).summary().endswith(" GiB, 2 x A, B")
    assert machine(cores=1).summary().startswith("Made-up CPU, 1 core, ")
    assert machine(physical_cores=8).summary().startswith("Made-up CPU, 16 cores (8 physical), ")


def test_a_lease_takes_a_core_for_each_thread_or_all_of_them(machine: MachineOf) -> None:
    alike, threaded = machine(), machine(physical_cores=8)
    assert (alike.leasable_cores, threaded.leasable_cores) == (16, 8)
    assert [alike.cores_leased(n) for n in (1, 8, 16, 17)] == [1, 8, 16, 17]
    assert [threaded.cores_leased(n) for n in (1, 8, 9, 16, 17)] == [1, 8, 8, 8, 17]


@pytest.mark.parametrize(
    ("quota", "expected"), [(None, (8, 4)), (6.5, (6, 4)), (3.0, (3, 3)), (0.5, (1, 1))]
)
def test_a_quota_bounds_cpus_and_cores(
    tmp_path: Path, quota: float | None, expected: tuple[int, int]
) -> None:
    """Four cores with two hyperthreads each."""
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    assert offered_cores(range(8), Limits(cores=quota), tmp_path) == expected
    assert offered_cores(range(2), Limits(), tmp_path) == (2, 2)
    assert offered_cores({0, 4}, Limits(), tmp_path) == (2, 1)


def test_this_machine_is_found_as_it_is() -> None:
    found = detect_hardware()
    assert found.cpu
    assert 1 <= found.leasable_cores <= found.cores <= len(os.sched_getaffinity(0))
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    assert 0 < found.memory_mb <= pages


def test_this_machine_is_looked_at_once() -> None:
    assert detect_hardware() is detect_hardware()


def test_the_installed_libraries_are_found_with_their_versions() -> None:
    found = detect_hardware().libraries
    substitutes = {one for several in SUBSTITUTES.values() for one in several}
    assert set(found) - {"nvidia-driver"} <= {*LIBRARIES, *substitutes}
    assert found["torch"] == version("torch")


def test_libraries_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "LIBRARIES", ("no-such-distribution", "torch"))
    assert set(detect_hardware.__wrapped__().libraries) == {"torch"}


def test_variables_that_libraries_read_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without those that only say how many threads there are, or that libraries set themselves."""
    for name in list(detect_hardware.__wrapped__().variables):
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("LD_PRELOAD", "")
    for name in ("OMP_NUM_THREADS", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR", "PATH"):
        monkeypatch.setenv(name, "1")
    found = detect_hardware.__wrapped__().variables
    assert found == {"LD_PRELOAD": "", "ONEDNN_MAX_CPU_ISA": "AVX2"}


def test_cores_that_this_process_may_not_use_do_not_count() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from tunefront.spaces import detect_hardware; print(detect_hardware().cores)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


def found_gpus(
    monkeypatch: pytest.MonkeyPatch, *gpus: FakeGpu, visible: str | None = None
) -> Hardware:
    FakeNvml(gpus).install(monkeypatch, visible)
    return detect_hardware.__wrapped__()


THREE = [FakeGpu(uuid=f"GPU-{i}", cpus=range(64 * i, 64 * i + 2)) for i in range(3)]


@pytest.mark.parametrize(
    ("visible", "places"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("0", [0]),
        ("2,0", [2, 0]),
        ("1, 2", [1, 2]),
        ("0,7", [0]),
        ("GPU-2", [2]),
    ],
)
def test_only_visible_gpus_count(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, places: list[int]
) -> None:
    found = found_gpus(monkeypatch, *THREE, visible=visible)
    assert [gpu.uuid for gpu in found.gpus] == [f"GPU-{i}" for i in places]
    assert found.gpu_problems == ()


def test_a_gpu_is_described_by_what_the_driver_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name, get=os.sysconf: max(get(name), 256))
    found = found_gpus(monkeypatch, *THREE)
    assert found.gpus[1] == Gpu(
        name="NVIDIA H100 80GB HBM3",
        memory_mb=81559,
        capability=(9, 0),
        uuid="GPU-1",
        driver="575.57.08",
        cpus=frozenset({64, 65}),
    )
    assert found.libraries["nvidia-driver"] == "575.57.08"


def test_mig_instances_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name and memory are their own; capability and CPUs are those of the whole GPU."""
    parts = [FakeGpu(uuid=f"MIG-{i}", name="H100 MIG 1g.10gb", memory_mb=9856) for i in range(2)]
    whole = FakeGpu(instances=parts, cpus=(0, 1))
    found = found_gpus(monkeypatch, whole)
    assert [gpu.uuid for gpu in found.gpus] == ["MIG-0", "MIG-1"]
    assert {gpu.memory_mb for gpu in found.gpus} == {9856}
    assert {gpu.capability for gpu in found.gpus} == {(9, 0)}
    assert {gpu.cpus for gpu in found.gpus} == {frozenset({0, 1})}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"lost": True}, "GPU 1 is left out: GPU is lost"),
        ({"unsupported": {"nvmlDeviceGetName"}}, "GPU-1 is left out: Not Supported"),
        (
            {"compute_mode": pynvml.NVML_COMPUTEMODE_PROHIBITED},
            "GPU-1 is left out: its compute mode prohibits every process (`nvidia-smi -c 0`)",
        ),
        (
            {"compute_mode": pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS},
            "GPU-1 is left out: its compute mode allows one process at a time, but a candidate is "
            "measured in turns with the baseline (`nvidia-smi -c 0` allows several)",
        ),
        (
            {"name": "NVIDIA T400", "memory_mb": 4096},
            "GPU-1 (NVIDIA T400) is left out: trials run on one kind of GPU, NVIDIA H100 80GB HBM3;"
            " name it in CUDA_VISIBLE_DEVICES to use it instead",
        ),
    ],
)
def test_a_gpu_that_can_not_be_used_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], problem: str
) -> None:
    gpus = [FakeGpu(uuid="GPU-0"), FakeGpu(**{"uuid": "GPU-1", **change}), FakeGpu(uuid="GPU-2")]
    found = found_gpus(monkeypatch, *gpus)
    assert [gpu.uuid for gpu in found.gpus] == ["GPU-0", "GPU-2"]
    assert found.gpu_problems == (problem,)


def test_a_gpu_without_memory_of_its_own_has_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_gpus(monkeypatch, FakeGpu(unsupported={"nvmlDeviceGetMemoryInfo"}))
    assert [gpu.memory_mb for gpu in found.gpus] == [found.memory_mb]


def test_properties_that_the_driver_does_not_tell_have_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden = {"nvmlDeviceGetComputeMode", "nvmlDeviceGetCpuAffinityWithinScope"}
    [gpu] = found_gpus(monkeypatch, FakeGpu(unsupported=hidden)).gpus
    assert gpu.cpus == frozenset()


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(init_error=pynvml.NVML_ERROR_DRIVER_NOT_LOADED).install(monkeypatch)
    found = detect_hardware.__wrapped__()
    assert found.gpus == ()
    assert found.gpu_problems == ("NVML does not work: Driver Not Loaded",)
    assert "nvidia-driver" not in found.libraries
