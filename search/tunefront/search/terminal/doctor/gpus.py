"""Output about the GPUs of this machine, their driver and the toolchain."""

from collections.abc import Iterator

from tunefront.evaluators.measures.gpu_setup import (
    LEAST_SHARED_MEMORY_MB,
    GpuReport,
    GpuSetup,
    Toolchain,
)

_NAME_WIDTH = 12


def gpu_lines(setup: GpuSetup) -> list[str]:
    """Format what GPUs need and have; empty on a machine without a GPU and without a driver."""
    tools = setup.toolchain
    if tools is None:
        return []
    lines = [_driver_line(setup)]
    lines += [_gpu_line(gpu, tools) for gpu in setup.gpus]
    if setup.gpus and tools.mps:
        lines.append(_line(True, "MPS", "runs: processes share the GPUs' contexts"))
    return [*lines, *_tool_lines(tools, several=len(setup.gpus) > 1)]


def _line(holds: bool, name: str, text: str) -> str:
    return f"{'ok' if holds else '--'}  {name:{_NAME_WIDTH}} {text}"


def _driver_line(setup: GpuSetup) -> str:
    """Format the driver's version, or why NVML can't be used."""
    if setup.problem:
        return _line(False, "GPU driver", f"NVML can't be used: {setup.problem}; try nvidia-smi")
    if not setup.gpus:
        return _line(False, "GPU driver", f"{setup.driver}, but it reports no GPU")
    newest = f", CUDA up to {setup.driver_cuda}" if setup.driver_cuda else ""
    return _line(True, "GPU driver", f"{setup.driver}{newest}")


def _gpu_line(gpu: GpuReport, tools: Toolchain) -> str:
    """Format one GPU: `--` if a trial can't use it, with the reason."""
    if gpu.problem:
        return _line(False, gpu.name, f"can't be read: {gpu.problem}")
    problems = list(_problems(gpu, tools))
    text = ", ".join(filter(None, [gpu.uuid, *_state(gpu)]))
    return _line(not problems, gpu.name, "; ".join([text, *problems]))


def _state(gpu: GpuReport) -> Iterator[str]:
    """Yield what NVML reports; what it does not report is left out."""
    if gpu.capability is not None:
        yield f"capability {gpu.capability[0]}.{gpu.capability[1]}"
    if gpu.memory_mb is not None and gpu.free_mb is not None:
        yield f"{gpu.free_mb:,} of {gpu.memory_mb:,} MB free"
    if gpu.processes is not None:
        yield f"{gpu.processes or 'no'} process{'' if gpu.processes == 1 else 'es'} on it"

    for name, value in (("MIG", gpu.mig), ("persistence", gpu.persistent)):
        if value is not None:
            yield f"{name} {'on' if value else 'off'}"
    if gpu.compute_mode is not None:
        yield f"compute mode {gpu.compute_mode}"
    yield "energy counter" if gpu.energy else "no energy counter"


def _problems(gpu: GpuReport, tools: Toolchain) -> Iterator[str]:
    """Yield what keeps trials from using a GPU, or from being measured together with another."""
    if gpu.set_aside:
        yield (
            f"it was set aside: {gpu.set_aside}; the next `tunefront run` on GPUs tries it again"
        )
    if gpu.compute_mode == "prohibited":
        yield "no process can use it: `nvidia-smi -c DEFAULT` permits it"
    elif gpu.compute_mode is not None and gpu.compute_mode != "default":
        yield (
            "only one process at a time can use it, so that trials can't be timed in turns with "
            "the baseline: `nvidia-smi -c DEFAULT` permits several"
        )
    if tools.cuda and gpu.capability is not None and not tools.covers(gpu.capability):
        kernels = ", ".join(tools.architectures)
        yield f"this build of torch has no kernels for it (only for {kernels})"


def _tool_lines(tools: Toolchain, *, several: bool) -> Iterator[str]:
    """Yield a line for each thing that torch, AOTInductor and NCCL need."""
    if not tools.torch:
        yield _line(False, "CUDA", "torch can't be imported")
    elif not tools.cuda:
        text = f"torch {tools.torch} is a build for the CPU only; install one with CUDA, see "
        yield _line(False, "CUDA", f"{text}https://pytorch.org/get-started")
    else:
        kernels = ", ".join(tools.architectures) or "no GPU"
        text = f"torch {tools.torch} for CUDA {tools.cuda}, kernels for {kernels}"
        yield _line(True, "CUDA", text)
    needed = "inductor needs it on a GPU"
    yield _line(bool(tools.triton), "Triton", tools.triton or f"missing; {needed}")
    yield _line(bool(tools.compiler), "g++", tools.compiler or f"missing; {needed}")
    yield _headers_line(tools, needed)
    text = "can be linked" if tools.links_libcuda else f"`-lcuda` can't be linked; {needed}: "
    text += "" if tools.links_libcuda else "set CUDA_HOME to a toolkit with lib64/stubs"
    yield _line(tools.links_libcuda, "libcuda", text)
    if several:
        text = tools.nccl or "missing; tensor_parallel needs it on GPUs"
        yield _line(bool(tools.nccl), "NCCL", text)
        enough = tools.shared_memory_mb >= LEAST_SHARED_MEMORY_MB
        text = f"{tools.shared_memory_mb:,} MB" + (
            "" if enough else "; NCCL needs more between GPUs: `docker run --shm-size 8g`"
        )
        yield _line(enough, "/dev/shm", text)


def _headers_line(tools: Toolchain, needed: str) -> str:
    if tools.headers:
        return _line(True, "CUDA_HOME", tools.cuda_home)
    if tools.cuda_home:
        return _line(False, "CUDA_HOME", f"{tools.cuda_home} has no include/cuda.h; {needed}")
    return _line(False, "CUDA_HOME", f"no CUDA toolkit found; {needed}: set CUDA_HOME")
