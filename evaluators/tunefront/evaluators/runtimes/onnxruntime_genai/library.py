"""The library, imported without its telemetry."""

import importlib
import os
from typing import Any

VARIABLE = "ORT_DISABLE_TELEMETRY"


def genai_library() -> Any:
    """Return the module `onnxruntime_genai`, which has no type information.

    Without the variable it writes an identifier of the device to the user's cache folder and sends
    events (onnxruntime-genai 0.18); tasks have the variable from the start.
    """
    os.environ[VARIABLE] = "1"
    return importlib.import_module("onnxruntime_genai")
