"""What ONNX Runtime GenAI supports and requires."""

from tunefront.spaces import Default, Extension, Requirement

_EXTRA = "onnxruntime-genai"

EXTENSION = Extension(
    name="onnxruntime-genai",
    short="ortg",
    values={"runtime": {"onnxruntime-genai": "ONNX Runtime GenAI, text in static batches"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32"}),
        "quantization_bits": frozenset({16, 8, 4}),
        "quantization_method": frozenset({"dynamic", "rtn"}),
        "group_size": None,
        "max_batch": None,
    },
    # The model builder demands a precision; for int4 it takes these by itself.
    defaults=(
        Default(
            alternatives=(
                {"quantization_bits": 4, "quantization_method": "dynamic", "group_size": 32},
            )
        ),
    ),
    requires=(
        Requirement(distribution="onnxruntime-genai", extra=_EXTRA),
        Requirement(distribution="onnx", extra=_EXTRA),
        Requirement(distribution="transformers", extra=_EXTRA),
    ),
    interfaces=frozenset({"generation"}),
    imports={"open": ("numpy", "onnxruntime_genai")},
    provides={
        "runtime": "tunefront.evaluators.runtimes.onnxruntime_genai.runtime:OnnxRuntimeGenAi"
    },
)
