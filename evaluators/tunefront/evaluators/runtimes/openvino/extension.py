"""What OpenVINO supports and requires."""

from tunefront.evaluators.isolation.preload import PROGRAMS
from tunefront.evaluators.runtimes.instructions import BF16
from tunefront.spaces import Condition, Exclusion, Extension, Requirement

_NO_TELEMETRY = "tunefront.evaluators.runtimes.openvino.telemetry:without_telemetry"
_BELOW_8_BITS = Condition(choice="quantization_bits", test="<", operands=(8,))
_8_BITS = Condition(choice="quantization_bits", test="==", operands=(8,))
_BF16 = Condition(choice="precision", test="==", operands=("bf16",))
_DYNAMIC = Condition(choice="quantization_method", test="==", operands=("dynamic",))

EXTENSION = Extension(
    name="openvino",
    short="ov",
    values={"runtime": {"openvino": "OpenVINO, weights and activations quantized by NNCF"}},
    supports={
        "device": frozenset({"cpu"}),
        "precision": frozenset({"fp32", "bf16"}),
        "quantization_bits": frozenset({16, 8, 4}),
        "quantization_method": frozenset({"dynamic", "static", "rtn"}),
        "group_size": None,
    },
    excludes=(
        Exclusion(
            when=(
                _BELOW_8_BITS,
                Condition(choice="quantization_method", test="==", operands=("dynamic", "static")),
            ),
            reason="openvino quantizes activations with 8-bit weights only",
        ),
        Exclusion(
            when=(_BF16, _8_BITS, _DYNAMIC),
            reason="openvino quantizes activations dynamically in fp32 only",
        ),
        BF16,
        Exclusion(
            when=(_BF16,),
            unless_isa=frozenset({"avx512_bf16", "amx_bf16"}),
            reason="openvino has no bf16 kernels for this processor: it would compute in fp32",
        ),
        # Without VNNI the plugin uses the kernels of weight-only quantization.
        Exclusion(
            when=(_8_BITS, _DYNAMIC),
            unless_isa=frozenset({"avx512_vnni", "avx_vnni"}),
            reason="this processor has no VNNI instructions: openvino would quantize the weights "
            "only",
        ),
    ),
    requires=(
        Requirement(distribution="openvino", extra="openvino"),
        Requirement(distribution="nncf", extra="openvino"),
    ),
    calibrated_when=(Condition(choice="quantization_method", test="==", operands=("static",)),),
    imports={"build": PROGRAMS, "open": ("numpy", _NO_TELEMETRY, "openvino")},
    provides={
        "runtime": "tunefront.evaluators.runtimes.openvino.runtime:OpenVino",
        "profiler": "tunefront.evaluators.runtimes.openvino.profiler:profile_openvino",
    },
)
