"""What the memory of a generating model follows from: its checkpoint, the lengths of the load."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunefront.evaluators.interfaces.load import Load
from tunefront.spaces import GenerationMemory

_FULL, _SLIDING = "full_attention", "sliding_attention"


def memory_of(checkpoint: Path, config: Any, tokens: int, load: Load) -> GenerationMemory | None:
    """Return what weights and KV cache need; None if the model's cache is not that of attention.

    A token of a sequence takes 2 x KV heads x head size numbers in every layer: a key and a value
    (Kwon et al., Efficient Memory Management for Large Language Model Serving with PagedAttention,
    SOSP 2023, section 3). Layers with a sliding window keep its tokens only, layers without
    attention none.

    Args:
        checkpoint: Folder with the safetensors files, of which only the headers are read.
        config: The model's configuration, of its text part.
        tokens: Tokens of a prompt and its response.
        load: When requests are sent.
    """
    if getattr(config, "kv_lora_rank", None) is not None:  # keys and values are compressed
        return None
    try:
        heads = config.num_attention_heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        kept = sum(_kept_tokens(config, tokens))
    except AttributeError:  # a model without these fields
        return None
    return GenerationMemory(
        parameters=_parameters(checkpoint),
        kv_numbers=2 * kv_heads * size * kept,
        tokens=tokens,
        sequences=None if load.open_loop else load.concurrency,
    )


def _kept_tokens(config: Any, tokens: int) -> Iterator[int]:
    """Yield how many tokens of a sequence the KV cache of each layer keeps at least."""
    kinds = getattr(config, "layer_types", None) or [_FULL] * config.num_hidden_layers
    for kind in kinds:
        if kind == _SLIDING:
            yield min(tokens, config.sliding_window)
        else:
            yield tokens if kind == _FULL else 0


def _parameters(checkpoint: Path) -> int:
    """Return the number of parameters; weights that two layers share are stored once."""
    from safetensors import safe_open

    count = 0
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - the file itself is not iterable
                count += math.prod(tensors.get_slice(name).get_shape())
    return count
