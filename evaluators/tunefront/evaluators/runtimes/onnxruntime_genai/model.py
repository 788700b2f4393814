"""How a built folder is opened: the library's model, on a number of threads."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .batch import PADDING
from .library import genai_library

CONFIG_FILE = "genai_config.json"


def model_config(folder: Path) -> Mapping[str, Any]:
    """Return what the builder wrote about the model."""
    found: Mapping[str, Any] = json.loads((folder / CONFIG_FILE).read_text())["model"]
    return found


def overlay_of(end_token: int, threads: int) -> Mapping[str, object]:
    """Return what replaces parts of `genai_config.json`; see `Batch` for the end token."""
    return {
        "model": {
            # One number replaces the model's end tokens; a list would be added to them.
            "eos_token_id": end_token,
            "pad_token_id": PADDING,
            "decoder": {"session_options": {"intra_op_num_threads": threads}},
        }
    }


def open_model(folder: Path, end_token: int, threads: int) -> Any:
    """Open a folder that the model builder filled.

    Args:
        folder: The folder.
        end_token: The token that ends a row.
        threads: Number of threads per operator.
    """
    library = genai_library()
    config = library.Config(str(folder))
    config.overlay(json.dumps(overlay_of(end_token, threads)))
    return library.Model(config)
