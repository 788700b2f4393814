"""The library, imported without its telemetry."""

import importlib
from typing import Any

from tunefront.evaluators.runtimes.onnxruntime.telemetry import disable_telemetry


def genai_library() -> Any:
    """Return the module `onnxruntime_genai`, which has no type information."""
    disable_telemetry()
    return importlib.import_module("onnxruntime_genai")
