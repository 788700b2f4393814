"""What `doctor` prints about GPUs."""

from dataclasses import replace

import pytest

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.measures.gpu_setup import GpuReport, GpuSetup, Toolchain
from tunefront.search.terminal.doctor.gpus import gpu_lines
from tunefront.search.terminal.doctor.machine import doctor_lines
from tunefront.spaces import Gpu, Hardware

TOOLS = Toolchain(
    torch="2.13.0+cu130",
    cuda="13.0",
    architectures=("sm_80", "sm_90"),
    nccl="2.28.3",
    triton="3.7.0",
    compiler="/usr/bin/g++",
    cuda_home="/usr/local/cuda",
    headers=True,
    links_libcuda=True,
    shared_memory_mb=8192,
)
H100 = GpuReport(
    uuid="GPU-a",
    name="NVIDIA H100",
    capability=(9, 0),
    memory_mb=81_559,
    free_mb=80_000,
    processes=0,
    compute_mode="default",
    mig=False,
    persistent=True,
    energy=True,
)
SETUP = GpuSetup(
    expected=True, driver="580.1", driver_cuda="13.0", gpus=(H100, H100), toolchain=TOOLS
)


def test_a_machine_that_lacks_nothing() -> None:
    gpu = (
        "ok  NVIDIA H100  GPU-a, capability 9.0, 80,000 of 81,559 MB free, no processes on it, "
        "MIG off, persistence on, compute mode default, energy counter"
    )
    assert gpu_lines(SETUP) == [
        "ok  GPU driver   580.1, CUDA up to 13.0",
        gpu,
        gpu,
        "ok  CUDA         torch 2.13.0+cu130 for CUDA 13.0, kernels for sm_80, sm_90",
        "ok  Triton       3.7.0",
        "ok  g++          /usr/bin/g++",
        "ok  CUDA_HOME    /usr/local/cuda",
        "ok  libcuda      can be linked",
        "ok  NCCL         2.28.3",
        "ok  /dev/shm     8,192 MB",
    ]


def test_one_gpu_needs_no_nccl() -> None:
    lines = gpu_lines(replace(SETUP, gpus=(H100,), toolchain=replace(TOOLS, nccl="")))
    assert not any("NCCL" in line or "/dev/shm" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cuda": ""}, "torch 2.13.0+cu130 is a build for the CPU only; install one with CUDA"),
        ({"torch": ""}, "torch can't be imported"),
        ({"triton": ""}, "missing; inductor needs it on a GPU"),
        ({"compiler": ""}, "missing; inductor needs it on a GPU"),
        ({"headers": False}, "/usr/local/cuda has no include/cuda.h; inductor needs it on a GPU"),
        ({"headers": False, "cuda_home": ""}, "no CUDA toolkit found; inductor needs it on a GPU"),
        ({"links_libcuda": False}, "`-lcuda` can't be linked; inductor needs it on a GPU: set"),
        ({"nccl": ""}, "missing; tensor_parallel needs it on GPUs"),
        ({"shared_memory_mb": 64}, "64 MB; NCCL needs more between GPUs: `docker run --shm-size"),
    ],
)
def test_what_is_missing_has_a_line(changes: dict[str, object], text: str) -> None:
    lines = gpu_lines(replace(SETUP, toolchain=replace(TOOLS, **changes)))  # type: ignore[arg-type]
    (missing,) = [line for line in lines if line.startswith("--")]
    assert text in missing


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"compute_mode": "prohibited"}, "no process can use it: `nvidia-smi -c DEFAULT`"),
        ({"compute_mode": "exclusive process"}, "only one process at a time can use it"),
        ({"capability": (12, 0)}, "this build of torch has no kernels for it (only for sm_80, "),
        ({"problem": "GPU is lost"}, "NVIDIA H100  can't be read: GPU is lost"),
        ({"set_aside": "ECC error"}, "it was set aside: ECC error; the next `tunefront run` on"),
    ],
)
def test_a_gpu_that_can_not_be_used_has_the_reason(changes: dict[str, object], text: str) -> None:
    gpus = (H100, replace(H100, **changes))  # type: ignore[arg-type]
    (unusable,) = [x for x in gpu_lines(replace(SETUP, gpus=gpus)) if x.startswith("--")]
    assert text in unusable


def test_a_driver_that_can_not_be_used() -> None:
    broken = GpuSetup(expected=True, problem="Driver Not Loaded", toolchain=TOOLS)
    assert gpu_lines(broken)[0] == (
        "--  GPU driver   NVML can't be used: Driver Not Loaded; try nvidia-smi"
    )
    none = GpuSetup(expected=True, driver="580.1", toolchain=TOOLS)
    assert gpu_lines(none)[0] == "--  GPU driver   580.1, but it reports no GPU"


def test_a_machine_without_a_gpu_has_no_lines_and_one_with_gpus_has_their_formats(
    laptop: Hardware,
) -> None:
    catalog = builtin_catalog()
    without = GpuSetup(problem="NVML Shared Library Not Found")
    assert doctor_lines(laptop, catalog, without) == doctor_lines(laptop, catalog)
    assert "no GPU" in doctor_lines(laptop, catalog, without)[0]
    gpus = (Gpu(name="NVIDIA H100", memory_mb=81_559, capability=(9, 0)),)
    problems = ("GPU-b (T4) is left out: trials run on one kind of GPU, NVIDIA H100",)
    here = replace(laptop, gpus=gpus, gpu_problems=problems)
    lines = doctor_lines(here, catalog, SETUP)
    assert f"--  {problems[0]}" in lines
    assert "ok  GPU driver   580.1, CUDA up to 13.0" in lines
    formats = lines[lines.index("number formats on the GPU:") + 1 :]
    assert formats[0].startswith("    torch        fp32 (none, ")
    assert "tf32 (none" in formats[0]
    assert not any("onnxruntime" in line for line in formats[: formats.index("")])
