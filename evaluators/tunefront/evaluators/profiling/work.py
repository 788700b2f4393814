"""Work of an operator, from shapes: operations of products, bytes of inputs and outputs."""

from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType

from .kinds import VIEWS, torch_name

Shape = Sequence[int]

BYTES_OF: Mapping[str, int] = MappingProxyType(
    {
        "float": 4,
        "double": 8,
        "c10::BFloat16": 2,
        "c10::Half": 2,
        "long int": 8,
        "long": 8,
        "int": 4,
        "short": 2,
        "signed char": 1,
        "unsigned char": 1,
        "bool": 1,
    }
)
"""Bytes of an element by the profiler's type name."""
_FIRST = {"mm": 0, "int_mm": 0, "scaled_mm": 0, "addmm": 1, "bmm": 0, "baddbmm": 1, "mv": 0}
"""Index of the input that is the first factor."""
_LOOKUPS = frozenset({"embedding", "index_select", "gather", "index"})


def torch_flops(operator: str, shapes: Sequence[Shape], texts: Sequence[str] = ()) -> float | None:
    """Return the operations of a matrix product, convolution or attention; else None.

    Args:
        operator: Its name in the profiler.
        shapes: Shapes of the inputs; empty for an input that is not a tensor.
        texts: Values of the inputs that are not tensors, as text.
    """
    name = torch_name(operator)
    try:
        if name in _FIRST:
            a, b = shapes[_FIRST[name]], shapes[_FIRST[name] + 1]
            return 2.0 * prod(a) * (b[-1] if len(b) > 1 else 1)
        if name in ("linear", "mkldnn_linear", "linear_pointwise", "weight_int8pack_mm"):
            return 2.0 * prod(shapes[0]) * shapes[1][0]
        if "scaled_dot_product" in name:
            return attention_flops(shapes[0], shapes[1], shapes[2])
        if name in ("mkldnn_convolution", "cudnn_convolution"):
            return _convolution_flops(shapes[0], shapes[1], texts[3:5])
    except IndexError:
        return None
    return None


def attention_flops(query: Shape, key: Shape, value: Shape) -> float | None:
    """Return the operations of both products; each shape is `(batch, heads, length, width)`."""
    if not len(query) == len(key) == len(value) == 4:
        return None
    return 2.0 * prod(query[:3]) * key[2] * (query[3] + value[3])


def _convolution_flops(given: Shape, weight: Shape, texts: Sequence[str]) -> float | None:
    """Return the operations of a convolution.

    Args:
        given: Shape of the input, `(batch, channels, ...)`.
        weight: Shape of the weights, `(filters, channels / groups, ...)`.
        texts: Padding and stride, as text.
    """
    padding, stride = ([int(n) for n in text.strip("[]").split(",")] for text in texts)
    sizes = [
        (size + 2 * pad - window) // step + 1
        for size, pad, window, step in zip(given[2:], padding, weight[2:], stride, strict=True)
    ]
    return 2.0 * given[0] * prod(sizes) * prod(weight)


def torch_bytes(operator: str, shapes: Sequence[Shape], types: Sequence[str]) -> float | None:
    """Return the bytes of inputs and output, each counted once; None if no shape is known."""
    name = torch_name(operator)
    if name in VIEWS:
        return 0.0
    sizes = [
        float(prod(shape) * BYTES_OF[kind])
        for shape, kind in zip(shapes, types, strict=False)
        if kind in BYTES_OF
    ]
    if not sizes:
        return None
    if name in _LOOKUPS:
        return _lookup_bytes(name, shapes, types)
    if operator.endswith("_"):
        return sum(sizes)  # in-place: the output is one of the inputs
    return sum(sizes) + _output_bytes(name, shapes, types, max(sizes))


def _lookup_bytes(name: str, shapes: Sequence[Shape], types: Sequence[str]) -> float:
    """Return the bytes of the rows that a lookup reads and writes; other rows are not touched."""
    table = shapes[0]
    indices = [prod(shape) for shape in shapes[1:] if shape]
    width = 1 if name == "gather" else prod(table[1:])
    return 2.0 * max(indices, default=0) * width * BYTES_OF[types[0]]


def _output_bytes(
    name: str, shapes: Sequence[Shape], types: Sequence[str], largest: float
) -> float:
    if name in _FIRST and len(shapes) > _FIRST[name] + 1:
        a, b = shapes[_FIRST[name]], shapes[_FIRST[name] + 1]
        if len(a) > 1 and len(b) > 1:
            size = 4 if name == "int_mm" else BYTES_OF.get(types[_FIRST[name]], 4)
            return float(prod(a[:-1]) * b[-1] * size)
    if "scaled_dot_product" in name:
        return float(prod(shapes[0]) * BYTES_OF.get(types[0], 4))
    return largest
