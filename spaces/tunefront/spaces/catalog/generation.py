"""Generation of text: the precision of the KV cache, and how many requests are decoded together."""

from tunefront.spaces.choice_kind import ChoiceKind
from tunefront.spaces.extension import Extension

KV_CACHE_BITS = ChoiceKind(
    name="kv_cache_bits",
    stage="runtime",
    default=16,
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

EXTENSION = Extension(name="generation", choices=(KV_CACHE_BITS, MAX_BATCH))
