"""What AOTInductor needs of a machine to compile for a GPU, beyond torch."""

from functools import cache

from tunefront.evaluators.measures.gpu_setup import Toolchain, toolchain


def needed_on_gpu(found: Toolchain) -> list[str]:
    """Return what a toolchain lacks to compile for a GPU, each with what to do; empty if nothing.

    Args:
        found: What was found on the machine.
    """
    missing = {
        "Triton (install triton in the version that torch needs)": bool(found.triton),
        "a C++ compiler (install g++, or set CXX)": bool(found.compiler),
        "the header cuda.h (set CUDA_HOME to a CUDA toolkit)": found.headers,
        "libcuda.so to link with (set CUDA_HOME to a toolkit with lib64/stubs)": (
            found.links_libcuda
        ),
    }
    return [what for what, there in missing.items() if not there]


@cache
def lacking_on_gpu() -> str | None:
    """Return what this machine lacks to compile for a GPU, with what to do; None if nothing."""
    missing = needed_on_gpu(toolchain(with_torch=False))
    return f"inductor on a GPU needs {', '.join(missing)}" if missing else None
