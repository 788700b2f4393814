"""What number formats need of a processor or a GPU, as exclusions of runtimes."""

from tunefront.spaces import Condition, Exclusion

_AVX_BF16 = frozenset({"avx512_bf16", "amx_bf16"})


def _precision(value: str) -> Condition:
    return Condition(choice="precision", test="==", operands=(value,))


BF16 = Exclusion(
    when=(_precision("bf16"),),
    unless_isa=_AVX_BF16 | {"bf16"},
    reason="this processor has no bf16 instructions: it would be emulated",
)
BF16_ON_GPU = Exclusion(
    when=(_precision("bf16"),),
    unless_capability=(8, 0),
    reason="this GPU has no bf16 arithmetic (compute capability below 8.0): it would be emulated",
)
FP16 = Exclusion(
    when=(_precision("fp16"),),
    unless_isa=frozenset({"avx512_fp16", "asimdhp"}),
    reason="this processor has no fp16 arithmetic: it would be emulated",
)
