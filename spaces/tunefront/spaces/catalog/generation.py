"""Generation of text: the KV cache, how many requests are decoded together, and prompt lookup."""

from tunefront.spaces.choice import Value
from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.extension import Extension
from tunefront.spaces.rules import Context, Rule

from .numerics import NOT_QUANTIZED, PRECISION, QUANTIZATION_BITS, TF32
from .runtime import DEVICE, GPU

_PRECISION_BITS: dict[Value, int] = {"fp32": 32, TF32: 32, "bf16": 16, "fp16": 16}

KV_CACHE_BITS = ChoiceKind(
    name="kv_cache_bits",
    stage="runtime",
    default=NOT_QUANTIZED,
    help="Bits of a number in the KV cache; 16: not quantized, in the precision of the model.",
    numbers=(4, 8, 16),
    whole=True,
    log=True,
    unit="bits",
    short="kv",
)

MAX_BATCH = ChoiceKind(
    name="max_batch",
    stage="execution",
    default=16,
    help="Largest number of requests whose tokens an engine generates together.",
    low=1,
    high=4096,
    whole=True,
    log=True,
    unit="requests",
    short="mb",
    changes_outputs=False,
)

PROMPT_LOOKUP_TOKENS = ChoiceKind(
    name="prompt_lookup_tokens",
    stage="execution",
    default=0,
    help="Tokens that are proposed because they followed the same words earlier in the text, and "
    "verified in one step; 0: none.",
    low=0,
    high=64,
    whole=True,
    unit="tokens",
    short="pl",
)


def _memory_suffices(
    context: Context,
    device: Value,
    precision: Value,
    quantization_bits: Value,
    kv_cache_bits: Value,
    max_batch: Value,
) -> str | None:
    """Return why weights and KV cache can't fit into the memory of the machine or of one GPU.

    Both are lower bounds: every weight has the bits of a quantized one, and the cache holds the
    sequences that the load has in progress, up to `max_batch`. Activations, scales and what a
    library reserves come on top.
    """
    memory, on_gpu = context.memory, device == GPU
    if memory is None:
        return None
    room_mb = min(
        (gpu.memory_mb for gpu in context.hardware.gpus if on_gpu),
        default=context.hardware.memory_mb,
    )
    plain = _PRECISION_BITS[precision]
    bits, kv_bits = (
        plain if given == NOT_QUANTIZED else int(given)
        for given in (quantization_bits, kv_cache_bits)
    )
    most = int(max_batch)
    sequences = most if memory.sequences is None else min(most, memory.sequences)
    weights_mb, kv_mb = memory.weights_mb(bits), memory.kv_mb(kv_bits, sequences)
    if weights_mb + kv_mb <= room_mb:
        return None
    return (
        f"weights of {weights_mb:,.0f} MB ({bits} bits) and a KV cache of {kv_mb:,.0f} MB "
        f"({sequences} x {memory.tokens:,} tokens, {kv_bits} bits) do not fit into the "
        f"{room_mb:,} MB of {'a GPU' if on_gpu else 'this machine'}"
    )


EXTENSION = Extension(
    name="generation",
    choices=(KV_CACHE_BITS, MAX_BATCH, PROMPT_LOOKUP_TOKENS),
    rules=(
        Rule(
            name="memory",
            choices=(
                DEVICE.name,
                PRECISION.name,
                QUANTIZATION_BITS.name,
                KV_CACHE_BITS.name,
                MAX_BATCH.name,
            ),
            reason=_memory_suffices,
        ),
    ),
)
