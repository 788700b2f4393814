"""Functions of tasks in fresh interpreters and forks; run by test_interpreter.py."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from tests.evaluators.faulty import (  # noqa: F401
    aborts,
    blames_the_data,
    hangs,
    is_killed,
    leaves,
    raises,
    refuses,
    segfaults,
)


def describe(payload: Mapping[str, object]) -> dict[str, object]:
    """What the process has and sees."""
    rank = os.environ.get("RANK")
    print(f"rank {rank} sees {os.environ['CUDA_VISIBLE_DEVICES']}", flush=True)
    return {
        "program": getattr(sys.modules["__main__"], "__file__", ""),
        "visible": os.environ["CUDA_VISIBLE_DEVICES"],
        "order": os.environ.get("CUDA_DEVICE_ORDER"),
        "by_nvml": os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"),
        "threads": os.environ.get("TORCHINDUCTOR_COMPILE_THREADS"),
        "triton": os.environ.get("TRITON_CACHE_DIR"),
        "rank": rank,
        "cores": sorted(os.sched_getaffinity(0)),
        "set": os.environ.get("SET_FOR_IT"),
        "colorsys": "colorsys" in sys.modules,
        "path": sys.path[-1],
        "leads_its_group": os.getpid() == os.getpgrp() == os.getsid(0),
        "core_limit": resource.getrlimit(resource.RLIMIT_CORE),
        "folder": os.getcwd(),
        "temporary": tempfile.gettempdir(),
    }


def aborts_without_memory(payload: Mapping[str, object]) -> dict[str, object]:
    """As C++ ends where nothing catches its error."""
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def is_vague(payload: Mapping[str, object]) -> dict[str, object]:
    """As a compiled package of Inductor fails, with older versions of torch."""
    os.write(2, b"Error: CUDA out of memory. Tried to allocate 2.00 GiB.\n")
    raise RuntimeError("aoti_torch_empty_strided(...) API call failed at wrapper.cpp, line 9")


def sleep_a_second() -> None:
    time.sleep(1)


def leaves_a_child_and_hangs(payload: Mapping[str, object]) -> dict[str, object]:
    child = subprocess.Popen(["sleep", "600"])
    print(child.pid, flush=True)
    time.sleep(600)
    return {}
