"""Requests of a model on a GPU: arrays are copied there, outputs back through pinned memory.

Pinned memory is copied to several times as fast as memory that the system may move. torch keeps
pinned buffers for the next request, as soon as the arrays that lie in them are gone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.interfaces.torch_tensors import tensors
from tunefront.evaluators.statistics.arrays import Array

Outputs = torch.Tensor | Sequence[torch.Tensor]
RunOnDevice = Callable[[Mapping[str, torch.Tensor]], Outputs]
"""Runs a model on tensors that are on its device; what it returns is there, too."""
COPY_REPEATS = 5
"""Requests of which the share of the copies is the median."""


def call_on(device: str, run: RunOnDevice, inputs: Inputs) -> list[Array]:
    """Run one request, the copies to and from the device included, as in production."""
    with torch.inference_mode():
        return host_arrays(run(tensors(inputs, device)))


def devices_of(device: str, run: RunOnDevice, inputs: Inputs) -> set[torch.device]:
    """Return the devices that the outputs of one request are on."""
    with torch.inference_mode():
        outputs = run(tensors(inputs, device))
    listed = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    return {output.device for output in listed}


def host_arrays(outputs: Outputs) -> list[Array]:
    """Return outputs as arrays: those on a GPU copied through pinned memory, all at once."""
    listed = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    if not any(output.is_cuda for output in listed):
        return [output.to("cpu").numpy() for output in listed]
    copies = [_pinned_copy(output) for output in listed]
    torch.cuda.current_stream().synchronize()
    return [copy.numpy() for copy in copies]


def _pinned_copy(output: torch.Tensor) -> torch.Tensor:
    """Begin to copy a tensor to a new piece of pinned memory; the stream has to be waited for."""
    copy = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
    return copy.copy_(output, non_blocking=True)


def copy_share(device: str, run: RunOnDevice, inputs: Inputs) -> float:
    """Return the share of the copies to and from a GPU in the time of one request.

    The median of `COPY_REPEATS` requests: each is timed in three parts, and the GPU has finished
    before the next part begins.
    """
    return median(_copy_share(device, run, inputs) for _ in range(COPY_REPEATS))


def _copy_share(device: str, run: RunOnDevice, inputs: Inputs) -> float:
    torch.cuda.synchronize()
    with torch.inference_mode():
        start = time.perf_counter()
        given = tensors(inputs, device)
        torch.cuda.synchronize()
        copied = time.perf_counter()
        outputs = run(given)
        torch.cuda.synchronize()
        computed = time.perf_counter()
        host_arrays(outputs)
        end = time.perf_counter()
    return (end - start - (computed - copied)) / (end - start)
