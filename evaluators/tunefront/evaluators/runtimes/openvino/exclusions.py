"""What OpenVINO's CPU plugin can't compute, as exclusions of the runtimes that use it."""

from tunefront.evaluators.runtimes.instructions import BF16
from tunefront.spaces import NOT_QUANTIZED, Condition, Exclusion

_BF16 = Condition(choice="precision", test="==", operands=("bf16",))
_QUANTIZED = Condition(choice="quantization_bits", test="<", operands=(NOT_QUANTIZED,))
_DYNAMIC = Condition(choice="quantization_method", test="==", operands=("dynamic",))

CPU_PLUGIN = (
    Exclusion(
        when=(_BF16, _QUANTIZED, _DYNAMIC),
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
        when=(_QUANTIZED, _DYNAMIC),
        unless_isa=frozenset({"avx512_vnni", "avx_vnni"}),
        reason="this processor has no VNNI instructions: openvino would quantize the weights only",
    ),
)
"""Exclusions by number formats and by the instructions of the processor."""
