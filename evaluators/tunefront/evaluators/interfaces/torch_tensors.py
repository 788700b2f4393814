"""Requests as torch tensors, and number formats as torch has them. Imports torch."""

import os
from collections.abc import Callable, Mapping

import torch

from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import TF32, WorkloadError

from .tensors import Inputs

DTYPES: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    TF32: torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


NAME_OF = {dtype: name for name, dtype in DTYPES.items() if name != TF32}
"""The number format of each dtype; whether fp32 products use TF32 is a switch of the process."""
TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""Environment variable with which NVIDIA's libraries compute without TF32 if it is 0."""


def switch_tf32(precision: str, device: str) -> None:
    """Turn TF32 on in this process for the precision `tf32`, and off for all others.

    torch has two switches with different defaults: matrix products (off) and cuDNN (on). Nothing
    is changed for a device that is no GPU.
    """
    if device == "cuda":
        wanted = precision == TF32
        torch.backends.cuda.matmul.allow_tf32 = wanted
        torch.backends.cudnn.allow_tf32 = wanted


def switched_precision(weights: str, device: str) -> str:
    """Return the precision of this process's products.

    Args:
        weights: The number format of the weights.
        device: Where the products are computed.

    Returns:
        Of fp32 weights on a GPU the state of the two switches, both of which count; otherwise
        the format of the weights.
    """
    if device != "cuda" or weights != NAME_OF[torch.float32]:
        return weights
    products = torch.backends.cuda.matmul.allow_tf32 and os.environ.get(TF32_OVERRIDE) != "0"
    convolutions = torch.backends.cudnn.allow_tf32 and os.environ.get(TF32_OVERRIDE) != "0"
    if products != convolutions:
        return f"{TF32} in {'matrix products' if products else 'cuDNN'} only"
    return TF32 if products else weights


def tensors(inputs: Inputs, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Return the arrays of a request as tensors on `device`."""
    return {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}


def run_of(module: torch.nn.Module, device: str = "cpu") -> Callable[[Inputs], list[Array]]:
    """Return a function that runs a module on one request.

    Args:
        module: The module; it returns one tensor, or as many as its attribute `output_count`.
        device: Where the module is.

    Raises:
        WorkloadError: By the function, if the module returns anything else.
    """
    count = int(getattr(module, "output_count", 1))

    def run(inputs: Inputs) -> list[Array]:
        with torch.inference_mode():
            output = module(**tensors(inputs, device))
        if isinstance(output, tuple) and len(output) == count > 1:
            return [one.cpu().numpy() for one in output]
        if not isinstance(output, torch.Tensor):
            raise WorkloadError(
                "model: its forward must return one tensor, but returned "
                f"{described_output(output)}; name the tensor to measure with workload.output, a "
                "name or an index"
            )
        array: Array = output.cpu().numpy()
        return [array]

    return run


def device_of(module: torch.nn.Module) -> str:
    """Return the device of a module's parameters; the processor if it has none."""
    return next((str(parameter.device) for parameter in module.parameters()), "cpu")


def described_output(output: object) -> str:
    """Return the type of a module's output, with the names or the number of its parts."""
    if isinstance(output, Mapping):
        return f"{type(output).__name__} with {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list):
        return f"{type(output).__name__} of {len(output)} parts"
    return type(output).__name__
