"""What PyTorch eager supports and requires."""

from tunefront.evaluators.isolation.preload import PRELOAD, PROGRAMS
from tunefront.evaluators.runtimes.instructions import (
    BF16,
    BF16_ON_GPU,
    FP8_FORMATS,
    FP16,
    GRAPHS_ON_CPU,
    INT8_ON_GPU,
    TF32_ON_CPU,
    TF32_ON_GPU,
)
from tunefront.spaces import (
    FP8,
    NOT_QUANTIZED,
    TF32,
    Condition,
    Default,
    Exclusion,
    Extension,
    Requirement,
)

_QUANTIZED = Condition(choice="quantization_bits", test="<", operands=(NOT_QUANTIZED,))
_SHARDED = Condition(choice="tensor_parallel", test=">", operands=(1,))

EXTENSION = Extension(
    name="torch",
    values={
        "runtime": {"torch": "PyTorch, operator by operator (an exported program, run eagerly)"}
    },
    supports={
        "device": frozenset({"cpu", "cuda"}),
        "precision": frozenset({"fp32", TF32, "bf16", "fp16"}),
        "quantization_bits": frozenset({16, 8, 4}),
        "quantization_method": frozenset({"dynamic", FP8, "rtn"}),
        "sensitive_layers_kept": None,
        "cuda_graphs": None,
        "group_size": None,
        "tensor_parallel": None,
    },
    defaults=(Default(),),
    excludes=(
        Exclusion(
            when=(
                Condition(choice="quantization_bits", test="<", operands=(8,)),
                Condition(choice="quantization_method", test="==", operands=("dynamic", FP8)),
            ),
            reason="torch quantizes activations with 8-bit weights only",
        ),
        Exclusion(
            when=(Condition(choice="precision", test="==", operands=("fp16",)), _QUANTIZED),
            reason="torch does not quantize in fp16",
        ),
        BF16,
        BF16_ON_GPU,
        FP16,
        TF32_ON_CPU,
        TF32_ON_GPU,
        INT8_ON_GPU,
        *FP8_FORMATS,
        GRAPHS_ON_CPU,
        Exclusion(when=(_SHARDED, _QUANTIZED), reason="sharded weights can't be quantized"),
        Exclusion(
            when=(_SHARDED, Condition(choice="replicas", test=">", operands=(1,))),
            reason="replicas of a sharded model are not supported",
        ),
        Exclusion(
            when=(_SHARDED, Condition(choice="cuda_graphs", test="==", operands=(True,))),
            reason="requests of a sharded model are not captured as CUDA graphs",
        ),
        Exclusion(
            when=(_SHARDED, Condition(choice="pruning_ratio", test=">", operands=(0,))),
            reason="sharding a pruned model is not supported",
        ),
    ),
    requires=(
        Requirement(distribution="torch"),
        Requirement(
            distribution="torchao",
            extra="quantization",
            when=(_QUANTIZED,),
            imports=("torchao.quantization",),
        ),
    ),
    imports={"build": PROGRAMS, "open": ("torch", f"{PRELOAD}:programs")},
    provides={
        "runtime": "tunefront.evaluators.runtimes.torch.runtime:TorchEager",
        "profiler": "tunefront.evaluators.runtimes.torch.profiler:profile_torch",
    },
)
