"""What ONNX Runtime supports and requires."""

from tunefront.evaluators.isolation.preload import PROGRAMS
from tunefront.spaces import Condition, Default, Exclusion, Extension, Requirement

EXTENSION = Extension(
    name="onnxruntime",
    short="ort",
    values={"runtime": {"onnxruntime": "ONNX Runtime, transformer blocks fused"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32"}),
        "quantization_bits": frozenset({16, 8, 4}),
        "quantization_method": frozenset({"dynamic", "rtn"}),
        "group_size": None,
    },
    defaults=(Default(),),
    excludes=(
        Exclusion(
            when=(
                Condition(choice="quantization_bits", test="<", operands=(8,)),
                Condition(choice="quantization_method", test="==", operands=("dynamic",)),
            ),
            reason="onnxruntime quantizes activations with 8-bit weights only",
        ),
    ),
    requires=(
        Requirement(distribution="onnx", extra="onnxruntime"),
        Requirement(distribution="onnxscript", extra="onnxruntime"),
        Requirement(distribution="onnxruntime", extra="onnxruntime"),
    ),
    imports={
        "build": (*PROGRAMS, "onnx", "onnxscript", "torch.onnx"),
        "open": ("numpy", "onnxruntime"),
    },
    provides={
        "runtime": "tunefront.evaluators.runtimes.onnxruntime.runtime:OnnxRuntime",
        "profiler": "tunefront.evaluators.runtimes.onnxruntime.profiler:profile_onnx",
    },
)
