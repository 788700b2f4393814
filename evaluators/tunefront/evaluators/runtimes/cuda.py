"""The GPU of this process: its name in torch, and what int8 products on it can multiply."""

from collections.abc import Callable, Iterable, Mapping

import torch

from tunefront.evaluators.interfaces.endpoint import GPUS
from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.spaces import EvaluationError, Value

LEAST_INT8_ROWS = 17
"""Fewest rows that `torch._int_mm` multiplies on CUDA."""
INT8_MULTIPLE = 8
"""CUDA multiplies int8 matrices whose inner dimension and columns are multiples of this."""

FP8_MULTIPLE = 16
"""CUDA multiplies fp8 matrices whose inner dimension and columns are multiples of this."""


def target_device(device: str) -> str:
    """Return the torch device of a value of the choice `device`; that of a GPU has its index.

    Programs must name the GPU with its index: where they are compiled, `cuda` is another device
    than `cuda:0`.

    Raises:
        EvaluationError: If CUDA can't be used from this process (cause "device").
    """
    if device != "cuda":
        return device
    check_cuda()
    return f"cuda:{torch.cuda.current_device()}"


def check_cuda() -> None:
    """Check that this process can use CUDA.

    Raises:
        EvaluationError: If it can't (cause "device").
    """
    if torch.version.cuda is None:
        raise EvaluationError(
            f"torch {torch.__version__} is built without CUDA; install a build with CUDA",
            cause="device",
        )
    if torch.cuda._is_in_bad_fork():
        raise EvaluationError(
            "this process was forked from one that had called CUDA, and can't use it; a task that "
            "uses GPUs names them in `Task.devices`",
            cause="device",
        )


def gpu_facts(devices: Iterable[torch.device]) -> dict[str, Value]:
    """Return the UUIDs of the GPUs among some devices as a fact; empty if there are none."""
    indices = sorted({device.index or 0 for device in devices if device.type == "cuda"})
    uuids = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in indices]
    return {GPUS: ",".join(uuids)} if uuids else {}


def not_multiplied(module: torch.nn.Module, request: Inputs) -> list[str]:
    """Return the names of the linear layers that CUDA can't multiply in int8, in module order.

    Their dimensions are no multiples of `INT8_MULTIPLE`, or they have fewer rows than
    `LEAST_INT8_ROWS` for a single item, as a layer after the pooling of tokens has.

    Args:
        module: The module, on its device.
        request: A real request; those that are shorter can fail.
    """
    rows = _rows_by_layer(module, request)
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear)
        and (
            part.in_features % INT8_MULTIPLE != 0
            or part.out_features % INT8_MULTIPLE != 0
            or rows.get(name, 0.0) < LEAST_INT8_ROWS
        )
    ]


def not_multiplied_in_fp8(module: torch.nn.Module) -> list[str]:
    """Return the names of the linear layers that CUDA can't multiply in fp8, in module order.

    Their dimensions are no multiples of `FP8_MULTIPLE`; any number of rows can be multiplied.
    """
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear)
        and (part.in_features % FP8_MULTIPLE != 0 or part.out_features % FP8_MULTIPLE != 0)
    ]


def _rows_by_layer(module: torch.nn.Module, request: Inputs) -> Mapping[str, float]:
    """Return how many rows each linear layer multiplies for an item; without those not called."""
    device = next((str(one.device) for one in module.parameters()), "cpu")
    items = len(next(iter(request.values())))
    rows: dict[str, float] = {}
    hooks = [
        part.register_forward_pre_hook(_counting(rows, name, items))
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear)
    ]
    try:
        with torch.no_grad():
            module(**tensors(request, device))
    finally:
        for hook in hooks:
            hook.remove()
    return rows


def _counting(
    rows: dict[str, float], name: str, items: int
) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
    def hook(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        count = given[0].numel() / given[0].shape[-1] / items
        rows[name] = min(count, rows.get(name, count))

    return hook
