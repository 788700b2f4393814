"""The runtimes by name; a new one is one file here, its line below and its facts in `spaces`."""

from collections.abc import Mapping
from types import MappingProxyType

from .base import Candidate, Facts, Numerics, Runtime, Source
from .inductor import Inductor
from .onnxruntime import OnnxRuntime
from .openvino import OpenVino
from .torch_eager import TorchEager

RUNTIME_OF: Mapping[str, Runtime] = MappingProxyType(
    {runtime.name: runtime for runtime in (TorchEager(), Inductor(), OnnxRuntime(), OpenVino())}
)

__all__ = ["RUNTIME_OF", "Candidate", "Facts", "Numerics", "Runtime", "Source"]
