"""Number formats: precision of computation, quantization of weights and activations."""

from tunefront.spaces.choice import Condition
from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.extension import Extension

NOT_QUANTIZED = 16
"""The value of `quantization_bits` with which weights stay in the precision."""
TF32 = "tf32"
"""The value of `precision` for fp32 numbers whose products a GPU computes in TF32."""
FP8 = "fp8"
"""The value of `quantization_method` for weights and activations of 8-bit floating point."""
_QUANTIZED = Condition(choice="quantization_bits", test="<", operands=(NOT_QUANTIZED,))

PRECISION = ChoiceKind(
    name="precision",
    stage="runtime",
    default="fp32",
    help="The floating-point format that the model computes in.",
    words={
        "fp32": "32-bit floating point; on a GPU without TF32",
        TF32: "fp32 numbers, multiplied by the GPU with 10 bits of precision (TensorFloat-32)",
        "bf16": "bfloat16: fp32's range, 8 bits of precision",
        "fp16": "16-bit floating point",
    },
)

QUANTIZATION_BITS = ChoiceKind(
    name="quantization_bits",
    stage="runtime",
    default=NOT_QUANTIZED,
    help="Bits of a weight; 16 leaves weights as they are, in the chosen precision.",
    low=2,
    high=NOT_QUANTIZED,
    numbers=(16, 8, 4, 3, 2),
    whole=True,
    log=True,
    unit="bits",
    short="w",
)

QUANTIZATION_METHOD = ChoiceKind(
    name="quantization_method",
    stage="runtime",
    default="rtn",
    help="How weights, and with some methods activations, are quantized.",
    words={
        "dynamic": "weights and activations; ranges of activations are taken from each request",
        "static": "weights and activations; ranges are calibrated on the workload's data",
        FP8: "weights and activations in fp8 (e4m3), multiplied by NVIDIA GPUs; scales of "
        "activations are taken from each request",
        "rtn": "weights only, rounded to the nearest value",
    },
    when=(_QUANTIZED,),
    label_default=True,
)

GROUP_SIZE = ChoiceKind(
    name="group_size",
    stage="runtime",
    default=32,
    help="Weights that share one scale, below 8 bits.",
    low=32,
    high=128,
    numbers=(32, 64, 128),
    whole=True,
    log=True,
    unit="weights",
    when=(Condition(choice="quantization_bits", test="<", operands=(8,)),),
    short="g",
)

SENSITIVE_LAYERS_KEPT = ChoiceKind(
    name="sensitive_layers_kept",
    stage="runtime",
    default=0.0,
    help="Share of the linear layers, those that quantization changes most, left unquantized.",
    low=0.0,
    high=0.9,
    when=(_QUANTIZED,),
    short="k",
    read_back="own",
)

EXTENSION = Extension(
    name="numerics",
    choices=(
        PRECISION,
        QUANTIZATION_BITS,
        QUANTIZATION_METHOD,
        GROUP_SIZE,
        SENSITIVE_LAYERS_KEPT,
    ),
    provides={"read_back": "tunefront.evaluators.runtimes.number_format:layers_not_kept"},
)
