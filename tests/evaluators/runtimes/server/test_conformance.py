"""The engine `server` keeps the contract of engines, however prompts and tokens are sent."""

from collections.abc import Callable
from typing import Any

import pytest

from tunefront.evaluators.testing.generation import ENGINE_CHECKS, EngineCase

from .conftest import ServerCase

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "tokens": ("--token-ids", {}),
    "texts": ("--texts-only", {"prompts": "text"}),
    "chat": ("", {"api": "chat"}),
}


@pytest.mark.parametrize("check", ENGINE_CHECKS)
@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_it_keeps_the_contract(
    server_case: ServerCase, form: tuple[str, dict[str, Any]], check: Callable[[EngineCase], None]
) -> None:
    check(server_case(*form, max_num_seqs=2, kv="fp8"))
