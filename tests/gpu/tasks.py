"""Functions of tasks that Tunefront's own isolation runs on the GPU."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a task does with its device.

    Attributes:
        device: `cuda` or `cpu`.
        how: What happens; see `use`.
    """

    device: str
    how: str = "allocate"


def use(request: Use) -> Mapping[str, Any]:
    """Allocate a tensor and describe this process, or end in the way that is asked for."""
    import torch

    sleep: Any = torch.cuda._sleep  # it has no types
    bad_fork = bool(torch.cuda._is_in_bad_fork())  # before any call of CUDA
    one = torch.ones(8, device=request.device)
    if request.how == "out of memory":
        torch.empty(2**46, dtype=torch.uint8, device=request.device)
    elif request.how == "device assert":
        one[torch.full((4,), 10**6, device=request.device)].cpu()
    elif request.how == "killed":
        sleep(10**11)
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        torch.cuda.synchronize()
    elif request.how == "endless":
        sleep(10**14)
        torch.cuda.synchronize()
    uuid = ""
    if request.device == "cuda":
        uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    return {
        "bad_fork": bad_fork,
        "sum": float(one.sum()),
        "pid": os.getpid(),
        "parent": os.getppid(),
        "uuid": uuid,
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def look(request: Use) -> Mapping[str, Any]:
    """Describe a process that forks, without any call of CUDA."""
    import sys

    torch: Any = sys.modules.get("torch")
    time.sleep(0.1)
    return {
        "torch": torch is not None,
        "bad_fork": torch is not None and bool(torch.cuda._is_in_bad_fork()),
        "initialized": torch is not None and bool(torch.cuda.is_initialized()),
        "parent": os.getppid(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
