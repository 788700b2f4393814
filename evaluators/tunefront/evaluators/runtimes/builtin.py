"""The built-in runtimes by name."""

from collections.abc import Mapping
from types import MappingProxyType

from tunefront.evaluators.runtimes.inductor.runtime import Inductor
from tunefront.evaluators.runtimes.onnxruntime.runtime import OnnxRuntime
from tunefront.evaluators.runtimes.openvino.runtime import OpenVino
from tunefront.evaluators.runtimes.torch.runtime import TorchEager

from .base import Runtime

RUNTIME_OF: Mapping[str, Runtime] = MappingProxyType(
    {runtime.name: runtime for runtime in (TorchEager(), Inductor(), OnnxRuntime(), OpenVino())}
)
