"""A tiny language model, converted once a session, and its cases of the engine."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.evaluators.runtimes.onnxruntime_genai.conftest import source_of, write_model

from tunefront.evaluators import builtin_catalog
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.testing.generation import EngineCase
from tunefront.spaces import Value

CATALOG = builtin_catalog()
ENGINE = "openvino-genai"
ChoicesCase = Callable[..., EngineCase]


@pytest.fixture(scope="session")
def checkpoint(lm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("engine-model"), lm_folder)


@pytest.fixture(scope="session")
def engine(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ChoicesCase:
    """Returns the case with some choices; the model is converted once, 15 s of CPU time."""
    source = source_of(checkpoint, tmp_path_factory.mktemp("shared"))

    @cache
    def made(*choices: tuple[str, Value]) -> EngineCase:
        configuration = CATALOG.complete({"runtime": ENGINE, **dict(choices)})
        folder = tmp_path_factory.mktemp("built")
        return EngineCase(CATALOG, runtime_of(CATALOG, ENGINE), configuration, source, folder)

    return lambda **choices: made(*sorted(choices.items()))
