"""The predictions of a service: the values of its responses, packed as JSON texts."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from tunefront.evaluators.statistics.arrays import Array

_VALUES, _SIZES = "values", "sizes"
_COMPARED, _COMPARED_SIZES = "compared", "compared_sizes"


def value_predictions(values: Sequence[object], compared: Sequence[object]) -> dict[str, Array]:
    """Return the values of evaluated items, and those that the example items are compared with."""
    own, sizes = _packed(values)
    others, other_sizes = _packed(compared)
    return {_VALUES: own, _SIZES: sizes, _COMPARED: others, _COMPARED_SIZES: other_sizes}


def response_values(made: Mapping[str, Array]) -> list[object]:
    """Return the values of the evaluated items of predictions."""
    return _unpacked(made[_VALUES], made[_SIZES])


def compared_values(made: Mapping[str, Array]) -> list[object]:
    """Return the values that the example items of predictions are compared with."""
    return _unpacked(made[_COMPARED], made[_COMPARED_SIZES])


def _packed(values: Sequence[object]) -> tuple[Array, Array]:
    """Return JSON texts as one array of bytes, and one of their lengths."""
    texts = [json.dumps(value).encode() for value in values]
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    return np.frombuffer(b"".join(texts), dtype=np.uint8), sizes


def _unpacked(content: Array, sizes: Array) -> list[object]:
    ends = np.cumsum(sizes)
    texts = (content[end - size : end].tobytes() for end, size in zip(ends, sizes, strict=True))
    return [json.loads(text) for text in texts]
