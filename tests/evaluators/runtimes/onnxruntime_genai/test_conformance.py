"""ONNX Runtime GenAI keeps the contract of engines, in every number format."""

from collections.abc import Callable

import pytest

from tunefront.evaluators.testing.generation import ENGINE_CHECKS, EngineCase
from tunefront.spaces import Value

from .conftest import ChoicesCase

FORMATS: tuple[dict[str, Value], ...] = (
    {},
    {"quantization_bits": 4, "quantization_method": "dynamic", "group_size": 64},
    {"quantization_bits": 8, "quantization_method": "rtn"},
)


@pytest.mark.parametrize("check", ENGINE_CHECKS)
@pytest.mark.parametrize(
    "format_",
    [FORMATS[0], FORMATS[1], pytest.param(FORMATS[2], marks=pytest.mark.soak)],
    ids=["fp32", "w4", "w8"],
)
def test_it_keeps_the_contract(
    engine: ChoicesCase, format_: dict[str, Value], check: Callable[[EngineCase], None]
) -> None:
    check(engine(**format_))
