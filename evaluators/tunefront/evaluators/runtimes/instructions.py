"""What number formats need of a processor or a GPU, as exclusions of runtimes."""

from tunefront.spaces import FP8, TF32, Condition, Exclusion

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
TF32_ON_CPU = Exclusion(
    when=(_precision(TF32), Condition(choice="device", test="==", operands=("cpu",))),
    reason="tf32 is arithmetic of NVIDIA GPUs; on a processor choose fp32",
)
TF32_ON_GPU = Exclusion(
    when=(_precision(TF32),),
    unless_capability=(8, 0),
    reason="this GPU has no TF32 arithmetic (compute capability below 8.0): it would compute in "
    "fp32",
)
INT8_ON_GPU = Exclusion(
    when=(Condition(choice="quantization_method", test="==", operands=("dynamic", "static")),),
    unless_capability=(7, 5),
    reason="this GPU has no int8 matrix products (compute capability below 7.5)",
)
_FP8 = Condition(choice="quantization_method", test="==", operands=(FP8,))
FP8_FORMATS = (
    Exclusion(
        when=(_FP8, Condition(choice="device", test="==", operands=("cpu",))),
        reason="fp8 products are arithmetic of NVIDIA GPUs; on a processor choose another method",
    ),
    Exclusion(
        when=(_FP8,),
        unless_capability=(8, 9),
        reason="this GPU has no fp8 matrix products (compute capability below 8.9)",
    ),
    Exclusion(
        when=(_FP8, Condition(choice="precision", test="==", operands=("fp32", TF32, "fp16"))),
        reason="fp8 products have results in bf16: choose the precision bf16",
    ),
)
GRAPHS_ON_CPU = Exclusion(
    when=(
        Condition(choice="cuda_graphs", test="==", operands=(True,)),
        Condition(choice="device", test="==", operands=("cpu",)),
    ),
    reason="CUDA graphs are for GPUs; on a processor leave cuda_graphs out",
)
TRITON_ON_GPU = Exclusion(
    when=(Condition(choice="device", test="==", operands=("cuda",)),),
    unless_capability=(7, 0),
    reason="Triton has no kernels for this GPU (compute capability below 7.0)",
)
FP16 = Exclusion(
    when=(_precision("fp16"),),
    unless_isa=frozenset({"avx512_fp16", "asimdhp"}),
    reason="this processor has no fp16 arithmetic: it would be emulated",
)
