"""What the engine `transformers` supports and requires."""

from tunefront.evaluators.runtimes.instructions import (
    BF16,
    BF16_ON_GPU,
    FP16,
    TF32_ON_CPU,
    TF32_ON_GPU,
)
from tunefront.spaces import TF32, ChoiceKind, Default, Extension, Requirement

ATTENTION_IMPLEMENTATION = ChoiceKind(
    name="attention_implementation",
    stage="execution",
    default="sdpa",
    help="How transformers computes attention.",
    words={
        "sdpa": "one fused operator of torch (scaled_dot_product_attention)",
        "eager": "products and softmax one by one",
    },
    short="attn",
)

EXTENSION = Extension(
    name="transformers",
    short="hf",
    choices=(ATTENTION_IMPLEMENTATION,),
    values={
        "runtime": {
            "transformers": "the checkpoint in transformers: greedy decoding, batched by requests"
        }
    },
    supports={
        "device": frozenset({"cpu", "cuda"}),
        "precision": frozenset({"fp32", TF32, "bf16", "fp16"}),
        "quantization_bits": frozenset({16}),
        "kv_cache_bits": frozenset({16}),
        "max_batch": None,
        "prompt_lookup_tokens": None,
        "attention_implementation": None,
    },
    defaults=(Default(),),
    excludes=(BF16, BF16_ON_GPU, FP16, TF32_ON_CPU, TF32_ON_GPU),
    requires=(
        Requirement(distribution="torch"),
        Requirement(distribution="transformers", extra="hf"),
    ),
    interfaces=frozenset({"generation"}),
    imports={
        "build": ("torch", "transformers.models.auto.modeling_auto"),
        "open": (
            "torch",
            "transformers.models.auto.modeling_auto",
            "tunefront.evaluators.interfaces.torch_generation",
        ),
    },
    provides={"runtime": "tunefront.evaluators.runtimes.transformers.runtime:Transformers"},
)
