"""Environment variables of fork servers and of the fresh interpreters of tasks that use GPUs."""

import os
from collections.abc import Mapping

from tunefront.evaluators.store.store import cache_folder

LIBRARY_ENVIRONMENT: Mapping[str, str] = {
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
}
"""Variables of all tasks."""
NO_GPU: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
"""Variables of processes that fork, in which libraries find no GPU without a call of CUDA.

A process that has called CUDA can't fork processes that use it. torch counts GPUs without CUDA by
the second variable.
"""
COMPILE_THREADS = "TORCHINDUCTOR_COMPILE_THREADS"
"""Number of processes that compile for Inductor, which reads it when it is imported."""


SLEEPING_THREADS: Mapping[str, str] = {"GOMP_SPINCOUNT": "0"}
"""Makes threads of OpenMP sleep while they wait for each other, unless the user sets it.

On a busy machine a spinning thread uses up the time that the next thread of its process needs.
"""


def server_environment(*, timed: bool = True) -> dict[str, str]:
    """Return the environment of a fork server: without GPUs, compiling with one process.

    Args:
        timed: Whether candidates are timed in its processes: their threads wait as in a deployment.
            Threads of other tasks, such as the evaluation of quality, sleep.
    """
    waiting = {} if timed else SLEEPING_THREADS
    return {COMPILE_THREADS: "1", **waiting, **os.environ, **LIBRARY_ENVIRONMENT, **NO_GPU}


def interpreter_environment(own: Mapping[str, str], cores: int) -> dict[str, str]:
    """Return the environment of a fresh interpreter.

    Kernels of Triton are kept in one folder for all builds, unless the user names another; by
    Inductor's default each build has its own, which is deleted with it.

    Args:
        own: The task's variables.
        cores: Number of its cores; 0 if not limited.
    """
    return {
        COMPILE_THREADS: str(max(1, cores)),
        "TRITON_CACHE_DIR": str(cache_folder() / "triton"),
        **os.environ,
        **LIBRARY_ENVIRONMENT,
        **own,
    }
