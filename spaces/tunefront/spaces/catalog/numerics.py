"""Number formats: precision of computation, quantization of weights and activations."""

from .kind import ChoiceKind

PRECISION = ChoiceKind(
    name="precision",
    stage="runtime",
    default="fp32",
    help="The floating-point format that the model computes in.",
    words={
        "fp32": "32-bit floating point",
        "bf16": "bfloat16: fp32's range, 8 bits of precision",
        "fp16": "16-bit floating point",
    },
)

QUANTIZATION = ChoiceKind(
    name="quantization",
    stage="runtime",
    default="none",
    help="How weights, and activations with int8-dynamic and int8-static, become integers.",
    words={
        "none": "no quantization",
        "int8-dynamic": "int8 weights; activations quantized as they come",
        "int8-static": "int8 weights and activations, ranges calibrated on the workload's data",
        "int8-weight-only": "int8 weights, floating-point activations",
        "int4-weight-only": "int4 weights in groups of 32, floating-point activations",
    },
)
