"""Operations and bytes from shapes: worked out by hand, and against torch's own count."""

from collections.abc import Sequence

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tunefront.evaluators.profiling.work import Shape, attention_flops, torch_bytes, torch_flops


@pytest.mark.parametrize(
    ("operator", "shapes", "flops"),
    [
        ("aten::mm", [(3, 4), (4, 5)], 120),
        ("aten::addmm", [(5,), (3, 4), (4, 5)], 120),
        ("aten::bmm", [(2, 3, 4), (2, 4, 5)], 240),
        ("aten::_int_mm", [(3, 4), (4, 5)], 120),
        ("aten::linear", [(2, 3, 4), (5, 4), (5,)], 240),
        ("aten::add", [(3, 4), (3, 4)], None),
        ("aten::mm", [(3, 4)], None),
    ],
)
def test_operations_of_products(operator: str, shapes: Sequence[Shape], flops: float) -> None:
    assert torch_flops(operator, shapes) == flops


def test_attention_is_counted_as_torch_counts_it() -> None:
    query, key = torch.rand(2, 4, 6, 8), torch.rand(2, 4, 10, 8)
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.scaled_dot_product_attention(query, key, key)
    assert attention_flops(query.shape, key.shape, key.shape) == 2 * 2 * 4 * 6 * 10 * 16
    if counter.get_total_flops():  # not every kernel of this processor is in its table
        assert attention_flops(query.shape, key.shape, key.shape) == counter.get_total_flops()
    assert attention_flops((6, 8), (10, 8), (10, 8)) is None


def test_a_convolution_is_counted_as_torch_counts_it() -> None:
    image, weight = torch.rand(2, 3, 17, 11), torch.rand(8, 3, 3, 3)
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.conv2d(image, weight, stride=2, padding=1)
    texts = ["", "", "", "[1, 1]", "[2, 2]", "[1, 1]", "1"]
    found = torch_flops("aten::mkldnn_convolution", [image.shape, weight.shape], texts)
    assert found == counter.get_total_flops()


@pytest.mark.parametrize(
    ("operator", "shapes", "types", "moved"),
    [
        ("aten::mm", [(3, 4), (4, 5)], ["float", "float"], 4 * (12 + 20 + 15)),
        ("aten::mm", [(3, 4), (4, 5)], ["c10::BFloat16"] * 2, 2 * (12 + 20 + 15)),
        ("aten::_int_mm", [(3, 4), (4, 5)], ["signed char"] * 2, 12 + 20 + 4 * 15),
        ("aten::add", [(3, 4), (4,)], ["float", "float"], 4 * (12 + 4 + 12)),
        ("aten::copy_", [(3, 4), (3, 4)], ["float", "float"], 4 * 24),
        ("aten::view", [(3, 4)], ["float"], 0),
        ("aten::embedding", [(999, 8), (2, 5)], ["float", "long int"], 2 * 10 * 8 * 4),
        ("aten::arange", [()], ["Scalar"], None),
    ],
)
def test_bytes_in_and_out(
    operator: str, shapes: Sequence[Shape], types: Sequence[str], moved: float
) -> None:
    assert torch_bytes(operator, shapes, types) == moved
