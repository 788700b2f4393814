"""The built-in runtimes by name."""

from collections.abc import Mapping
from types import MappingProxyType

from .base import Runtime
from .inductor import Inductor
from .onnxruntime import OnnxRuntime
from .openvino import OpenVino
from .torch_eager import TorchEager

RUNTIME_OF: Mapping[str, Runtime] = MappingProxyType(
    {runtime.name: runtime for runtime in (TorchEager(), Inductor(), OnnxRuntime(), OpenVino())}
)
