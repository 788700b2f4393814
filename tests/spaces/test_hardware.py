"""What a machine offers: its fingerprint, its summary, and this machine as it is."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from tunefront.spaces import Gpu, Hardware, detect_hardware, hardware
from tunefront.spaces.hardware import LIBRARIES, offered_cores
from tunefront.spaces.machine.control_groups import Limits

MachineOf = Callable[..., Hardware]
GPU = Gpu(name="A", memory_mb=1024, capability=(8, 0))
FOUND = [Gpu(name=f"GPU {i}", memory_mb=1000 + i, capability=(8, i)) for i in range(3)]


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


def test_the_summary_is_one_line_for_people(machine: MachineOf) -> None:
    assert machine().summary() == "Made-up CPU, 16 cores, 64 GiB, Made-up GPU"
    assert machine(gpus=()).summary() == "Made-up CPU, 16 cores, 64 GiB, no GPU"
    assert machine(gpus=(GPU, GPU)).summary().endswith(" GiB, 2 x A")
    assert machine(gpus=(GPU, *FOUND[:1], GPU)).summary().endswith(" GiB, 2 x A, GPU 0")
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
    assert set(found) <= set(LIBRARIES)
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


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that knows three GPUs: the suite runs where there are none."""

    def by_index(index: int) -> Gpu:
        if index >= len(FOUND):
            raise RuntimeError("invalid argument")
        return FOUND[index]

    def mig_mode(gpu: Gpu) -> list[int]:
        raise RuntimeError("not supported")

    driver = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(FOUND),
        nvmlDeviceGetHandleByIndex=by_index,
        nvmlDeviceGetUUID=lambda gpu: f"GPU-{gpu.memory_mb}",
        nvmlDeviceGetMigMode=mig_mode,
        nvmlDeviceGetName=lambda gpu: gpu.name,
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(total=gpu.memory_mb * 2**20),
        nvmlDeviceGetCudaComputeCapability=lambda gpu: list(gpu.capability),
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("visible", "places"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("0", [0]),
        ("2,0", [2, 0]),
        ("1, 2", [1, 2]),
        ("0,7", [0]),
        ("GPU-1002", [2]),
    ],
)
def test_only_visible_gpus_count(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, places: list[int]
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect_hardware.__wrapped__().gpus == tuple(FOUND[i] for i in places)


def test_a_mig_instance_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name and memory are its own; the capability is that of the whole GPU."""

    def capability(gpu: str) -> list[int]:
        if gpu != "whole":
            raise RuntimeError("not supported")
        return [9, 0]

    def mig_mode(gpu: str) -> list[int]:
        raise RuntimeError("not supported")

    driver = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetMigMode=mig_mode,
        nvmlDeviceGetName=lambda gpu: f"A100 {gpu}",
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(total=5000 * 2**20),
        nvmlDeviceGetCudaComputeCapability=capability,
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle=lambda gpu: "whole",
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    expected = Gpu(name="A100 MIG-1", memory_mb=5000, capability=(9, 0))
    assert detect_hardware.__wrapped__().gpus == (expected,)


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise RuntimeError("the driver is not loaded")

    driver = SimpleNamespace(NVMLError=RuntimeError, nvmlInit=no_driver)
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert detect_hardware.__wrapped__().gpus == ()
