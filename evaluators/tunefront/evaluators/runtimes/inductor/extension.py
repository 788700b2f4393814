"""What AOTInductor supports and requires."""

from tunefront.evaluators.isolation.preload import PRELOAD, PROGRAMS
from tunefront.evaluators.runtimes.instructions import (
    BF16,
    BF16_ON_GPU,
    FP8_FORMATS,
    GRAPHS_ON_CPU,
    INT8_ON_GPU,
    TF32_ON_CPU,
    TF32_ON_GPU,
    TRITON_ON_GPU,
)
from tunefront.spaces import (
    FP8,
    NOT_QUANTIZED,
    TF32,
    ChoiceKind,
    Condition,
    Context,
    Default,
    Exclusion,
    Extension,
    Requirement,
    Rule,
    Value,
)

from .requirements import lacking_on_gpu

_QUANTIZED = Condition(choice="quantization_bits", test="<", operands=(NOT_QUANTIZED,))
_FP16 = Condition(choice="precision", test="==", operands=("fp16",))

MAX_AUTOTUNE = ChoiceKind(
    name="max_autotune",
    stage="runtime",
    default=False,
    help="Whether Inductor chooses the kernel of each matrix product by timing several.",
    words={
        False: "chosen by rules",
        True: "timed when the model is compiled, which takes longer; for GPUs",
    },
    short="tuned=",
    interfaces=frozenset({"tensors"}),
)


def _compilable(context: Context, runtime: Value, device: Value) -> str | None:
    """Return what the machine lacks to compile for its GPU; another rule demands the GPU itself."""
    on_gpu = runtime == "inductor" and device == "cuda" and bool(context.hardware.gpus)
    return lacking_on_gpu() if on_gpu else None


EXTENSION = Extension(
    name="inductor",
    choices=(MAX_AUTOTUNE,),
    values={
        "runtime": {"inductor": "torch.compile's Inductor, compiled ahead of time (AOTInductor)"}
    },
    supports={
        "device": frozenset({"cpu", "cuda"}),
        "precision": frozenset({"fp32", TF32, "bf16", "fp16"}),
        "quantization_bits": frozenset({16, 8}),
        "quantization_method": frozenset({"dynamic", FP8, "rtn"}),
        "sensitive_layers_kept": None,
        "cuda_graphs": None,
        "max_autotune": None,
    },
    defaults=(Default(),),
    excludes=(
        BF16,
        BF16_ON_GPU,
        TF32_ON_CPU,
        TF32_ON_GPU,
        INT8_ON_GPU,
        *FP8_FORMATS,
        GRAPHS_ON_CPU,
        TRITON_ON_GPU,
        Exclusion(
            when=(
                Condition(choice="max_autotune", test="==", operands=(True,)),
                Condition(choice="device", test="==", operands=("cpu",)),
            ),
            reason="inductor times kernels on GPUs only; on a processor leave max_autotune out",
        ),
        Exclusion(
            when=(_FP16, Condition(choice="device", test="==", operands=("cpu",))),
            reason="inductor computes in fp16 on GPUs only",
        ),
        Exclusion(when=(_FP16, _QUANTIZED), reason="inductor does not quantize in fp16"),
    ),
    rules=(Rule(name="compiler", choices=("runtime", "device"), reason=_compilable),),
    requires=(
        Requirement(distribution="torch"),
        Requirement(
            distribution="torchao",
            extra="quantization",
            when=(_QUANTIZED,),
            imports=("torchao.quantization",),
        ),
    ),
    imports={
        "build": (*PROGRAMS, "torch._inductor.compile_fx", f"{PRELOAD}:vector_instructions"),
        "open": ("torch", f"{PRELOAD}:packages"),
    },
    provides={
        "runtime": "tunefront.evaluators.runtimes.inductor.runtime:Inductor",
        "profiler": "tunefront.evaluators.runtimes.torch.profiler:profile_torch",
    },
)
