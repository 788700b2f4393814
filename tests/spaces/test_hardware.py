"""What a machine offers: its fingerprint, its summary, and this machine as it is."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from tunefront.spaces import Gpu, Hardware, detect_hardware, hardware
from tunefront.spaces.hardware import LIBRARIES

MachineOf = Callable[..., Hardware]
GPU = Gpu(name="A", memory_mb=1024, capability=(8, 0))
FOUND = [Gpu(name=f"GPU {i}", memory_mb=1000 + i, capability=(8, i)) for i in range(3)]


@pytest.mark.parametrize(
    "change",
    [{"cpu": "Another"}, {"cores": 2}, {"isa": frozenset({"avx2"})}, {"gpus": (GPU,)}],
)
def test_another_kind_of_machine_has_another_fingerprint(
    machine: MachineOf, change: dict[str, object]
) -> None:
    assert machine(**change).fingerprint != machine().fingerprint


@pytest.mark.parametrize("change", [{"libraries": {}}, {"memory_mb": 1}])
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


def test_this_machine_is_found_as_it_is() -> None:
    found = detect_hardware()
    assert found.cpu
    assert found.cores == len(os.sched_getaffinity(0))
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
    driver = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(FOUND),
        nvmlDeviceGetHandleByIndex=lambda i: FOUND[i],
        nvmlDeviceGetName=lambda gpu: gpu.name,
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(total=gpu.memory_mb * 2**20),
        nvmlDeviceGetCudaComputeCapability=lambda gpu: list(gpu.capability),
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("visible", "places"),
    [(None, [0, 1, 2]), ("", []), ("0", [0]), ("2,0", [2, 0]), ("1, 2", [1, 2]), ("0,7", [0])],
)
def test_only_visible_gpus_count(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, places: list[int]
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect_hardware.__wrapped__().gpus == tuple(FOUND[i] for i in places)


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise RuntimeError("the driver is not loaded")

    driver = SimpleNamespace(NVMLError=RuntimeError, nvmlInit=no_driver)
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert detect_hardware.__wrapped__().gpus == ()
