"""Generation of text: the KV cache, how many requests are decoded together, and prompt lookup."""

from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.extension import Extension
from tunefront.spaces.rules import Rule

from .generation_memory import memory_shortage
from .numerics import NOT_QUANTIZED, PRECISION, QUANTIZATION_BITS
from .runtime import DEVICE

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
            reason=memory_shortage,
        ),
    ),
)
