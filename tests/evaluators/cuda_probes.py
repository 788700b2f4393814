"""A torch that looks like one built for CUDA and records calls of CUDA; for test_no_cuda.py.

The first import of a fork server patches it, before the libraries are imported.
"""

import importlib
import os
import sys
from collections.abc import Mapping

CALLS: list[str] = []


def patch() -> None:
    """Make torch look compiled for CUDA, with a toolkit and Triton, and record what calls CUDA."""
    import torch

    def recorded(name: str, result: object) -> object:
        def call(*_: object, **__: object) -> object:
            CALLS.append(f"{name} by {_caller()}")
            return result

        return call

    torch._C._cuda_getDeviceCount = recorded("getDeviceCount", 1)  # type: ignore[assignment]
    torch._C._cuda_getCurrentRawStream = recorded("stream", 0)  # type: ignore[assignment]
    torch.version.cuda = "13.0"
    torch.cuda._lazy_init = recorded("_lazy_init", None)  # type: ignore[assignment]
    torch.cuda.get_device_properties = recorded("properties", None)  # type: ignore[assignment]
    os.environ["CUDA_HOME"] = "/nowhere/cuda"

    from torch._inductor import cpu_vec_isa
    from torch.utils import _triton

    _triton.has_triton_package = lambda: True  # type: ignore[assignment]

    def pick() -> None:
        """Import what the detection of instructions imports."""
        importlib.import_module("torch.utils.cpp_extension")

    cpu_vec_isa.pick_vec_isa = pick  # type: ignore[assignment]


def _caller() -> str:
    """The last module outside of torch that led to a call."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__"))
        if not name.startswith(("torch", "importlib", "functools")) and name != __name__:
            return name
        frame = frame.f_back
    return "?"


def calls(payload: Mapping[str, object]) -> dict[str, object]:
    """The calls of the fork server, and those of a check that is not kept from CUDA."""
    import torch

    before = list(CALLS)
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK")
    available = torch.cuda.is_available()
    return {
        "calls": before,
        "control": available and len(CALLS) > len(before),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
        "toolkit": "torch.utils.cpp_extension" in sys.modules,
    }
