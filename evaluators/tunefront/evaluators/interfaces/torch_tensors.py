"""Requests as torch tensors, and the torch dtypes of number formats. Imports torch."""

from collections.abc import Mapping

import torch

from .tensors import Inputs

DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


NAME_OF = {dtype: name for name, dtype in DTYPES.items()}


def tensors(inputs: Inputs, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Return the arrays of a request as tensors on `device`."""
    return {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
