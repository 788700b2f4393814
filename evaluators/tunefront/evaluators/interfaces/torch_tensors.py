"""Requests as torch tensors, and the torch dtypes of number formats. Imports torch."""

from collections.abc import Callable, Mapping

import torch

from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import WorkloadError

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


def run_of(module: torch.nn.Module) -> Callable[[Inputs], list[Array]]:
    """Return a function that runs a module on one request.

    Raises:
        WorkloadError: By the function, if the module does not return one tensor.
    """

    def run(inputs: Inputs) -> list[Array]:
        with torch.inference_mode():
            output = module(**tensors(inputs))
        if not isinstance(output, torch.Tensor):
            raise WorkloadError(
                "model: its forward must return one tensor, but returned "
                f"{described_output(output)}; name the tensor to measure with workload.output, a "
                "name or an index"
            )
        array: Array = output.numpy()
        return [array]

    return run


def described_output(output: object) -> str:
    """Return the type of a module's output, with the names or the number of its parts."""
    if isinstance(output, Mapping):
        return f"{type(output).__name__} with {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list):
        return f"{type(output).__name__} of {len(output)} parts"
    return type(output).__name__
