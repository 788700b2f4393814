"""What `doctor` reports about GPUs, from a stand-in for NVML and a toolchain that tests write."""

import os
import stat
from pathlib import Path

import pynvml
import pytest
from tests.evaluators.measures.fake_nvml import FakeGpu, FakeNvml

from tunefront.evaluators.isolation.gpus import set_gpu_aside
from tunefront.evaluators.measures import gpu_setup as module
from tunefront.evaluators.measures.gpu_setup import GpuSetup, Toolchain, gpu_setup, toolchain

TOOLS = Toolchain(torch="2.13.0", cuda="13.0", architectures=("sm_90",))


def setup_of(nvml: FakeNvml, folder: Path) -> GpuSetup:
    return gpu_setup(nvml, lambda: TOOLS, devices=str(folder))


def test_every_gpu_is_described(tmp_path: Path) -> None:
    gpu = FakeGpu(uuid="GPU-a", memory_mb=1000, reserved_mb=100, processes={7: 300, 8: 200})
    nvml = FakeNvml([gpu, FakeGpu(uuid="GPU-b", compute_mode=3)], driver="580.1")
    found = setup_of(nvml, tmp_path)
    assert (found.driver, found.driver_cuda, found.problem) == ("580.1", "13.0", "")
    assert found.toolchain is TOOLS
    first, second = found.gpus
    assert (first.uuid, first.capability) == ("GPU-a", (9, 0))
    assert (first.memory_mb, first.free_mb, first.processes) == (1000, 400, 2)
    assert (first.compute_mode, first.mig, first.persistent) == ("default", False, True)
    assert first.energy
    assert second.compute_mode == "exclusive process"


def test_what_is_not_supported_is_unknown_and_hides_nothing(tmp_path: Path) -> None:
    lacking = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTotalEnergyConsumption")
    (found,) = setup_of(FakeNvml([FakeGpu(unsupported=lacking)]), tmp_path).gpus
    assert (found.memory_mb, found.free_mb, found.energy) == (None, None, False)
    assert found.capability == (9, 0)


def test_a_lost_gpu_is_named_and_the_others_are_described(tmp_path: Path) -> None:
    lost, fine = setup_of(FakeNvml([FakeGpu(lost=True), FakeGpu()]), tmp_path).gpus
    assert lost.problem == "GPU is lost"
    assert (lost.name, fine.problem) == ("GPU 0", "")


def test_a_gpu_that_was_set_aside_has_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEFRONT_LEASES", str(tmp_path / "leases"))
    set_gpu_aside("GPU-b", "ECC error")
    first, second = setup_of(FakeNvml([FakeGpu(), FakeGpu(uuid="GPU-b")]), tmp_path).gpus
    assert (first.set_aside, second.set_aside) == ("", "ECC error")


def test_without_a_gpu_and_a_driver_nothing_is_looked_for(tmp_path: Path) -> None:
    """Torch is not imported for it."""
    nvml = FakeNvml(init_error=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    found = setup_of(nvml, tmp_path)
    assert found == GpuSetup(problem="NVML Shared Library Not Found")


def test_a_driver_that_can_not_be_used_is_reported_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    nvml = FakeNvml(init_error=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    found = setup_of(nvml, tmp_path)
    assert found.expected
    assert found.problem == "RM has detected an NVML/RM version mismatch."
    assert found.toolchain is TOOLS


@pytest.mark.parametrize(
    ("built", "capability", "covered"),
    [
        (("sm_80", "sm_90"), (9, 0), True),
        (("sm_80",), (8, 9), True),
        (("sm_86",), (8, 0), False),
        (("sm_90",), (10, 0), False),
        (("sm_90", "compute_90"), (12, 0), True),
        (("sm_90a",), (9, 0), True),
        (("sm_100a",), (10, 3), False),
        (("sm_120",), (12, 0), True),
        (("gfx90a",), (9, 0), False),
        ((), (9, 0), False),
    ],
)
def test_kernels_run_where_cuda_runs_them(
    built: tuple[str, ...], capability: tuple[int, int], covered: bool
) -> None:
    assert Toolchain(architectures=built).covers(capability) is covered


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("named", [True, False])
def test_the_toolkit_is_found_as_torch_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """By CUDA_HOME, else by nvcc; the stubs of the driver's library count with CUDA_HOME only."""
    monkeypatch.setattr(module, "_torch_facts", dict)
    home = tmp_path / "cuda"
    script(home / "bin" / "nvcc", "exit 0")
    (home / "include").mkdir()
    (home / "include" / "cuda.h").touch()
    compiler = script(tmp_path / "bin" / "g++", 'echo "$@" > "$(dirname "$0")/called"')
    variables = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    if named:
        variables["CUDA_HOME"] = str(home)
    else:
        variables["PATH"] = f"{home}/bin:{variables['PATH']}"
    found = toolchain(variables)
    assert (found.compiler, found.cuda_home) == (str(compiler), str(home))
    assert found.headers
    assert found.links_libcuda
    assert found.shared_memory_mb > 0
    called = (tmp_path / "bin" / "called").read_text()
    assert "-lcuda" in called
    assert (f"-L{home}/lib64/stubs" in called) is named


def test_a_machine_without_a_toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_torch_facts", dict)
    monkeypatch.setattr(module, "_CUDA_FOLDER", str(tmp_path / "none"))
    found = toolchain({"PATH": str(tmp_path), "CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)})
    assert (found.compiler, found.cuda_home, found.torch) == ("", "", "")
    assert not (found.headers or found.links_libcuda or found.mps)
    (tmp_path / "control").touch()
    assert toolchain({"PATH": "", "CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}).mps
    script(tmp_path / "g++", "exit 1")
    assert not toolchain({"PATH": str(tmp_path)}).links_libcuda
