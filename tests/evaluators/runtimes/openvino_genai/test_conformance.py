"""OpenVINO GenAI keeps the contract of engines."""

from collections.abc import Callable

import pytest

from tunefront.evaluators.testing.generation import ENGINE_CHECKS, EngineCase
from tunefront.spaces import Value

from .conftest import ChoicesCase

CHOICES: dict[str, dict[str, Value]] = {
    "fp32": {},
    "w8": {"quantization_bits": 8, "kv_cache_bits": 8, "threads": 2, "max_batch": 2},
    "w4": {"quantization_bits": 4, "kv_cache_bits": 4, "scheduler_max_tokens": 16},
    "lookup": {"prompt_lookup_tokens": 3},
}


@pytest.mark.parametrize("check", ENGINE_CHECKS)
@pytest.mark.parametrize("choices", CHOICES.values(), ids=list(CHOICES))
def test_it_keeps_the_contract(
    engine: ChoicesCase, choices: dict[str, Value], check: Callable[[EngineCase], None]
) -> None:
    check(engine(**choices))
