"""Whether the weights and the KV cache of a model that generates text fit into memory."""

from tunefront.spaces.choice import Value
from tunefront.spaces.rules import Context

from .numerics import NOT_QUANTIZED, TF32
from .runtime import GPU

_PRECISION_BITS: dict[Value, int] = {"fp32": 32, TF32: 32, "bf16": 16, "fp16": 16}


def memory_shortage(
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
