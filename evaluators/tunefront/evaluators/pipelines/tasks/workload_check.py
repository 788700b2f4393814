"""Checks of a workload with its unchanged model, before anything is measured."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tunefront.evaluators.pipelines.workload import AnyWorkload
from tunefront.evaluators.statistics.formatting import number_text
from tunefront.evaluators.store.digest import digest_of
from tunefront.evaluators.workloads.base import TensorWorkload
from tunefront.evaluators.workloads.quality import Quality
from tunefront.spaces import TunefrontError, WorkloadError, named_error

if TYPE_CHECKING:
    import torch

    from tunefront.evaluators.interfaces.tensors import Inputs
    from tunefront.evaluators.statistics.arrays import Array

CheckedT = TypeVar("CheckedT")
MASK = "attention_mask"
"""Input that is 0 at padding."""
ROWS_CHECKED, REQUESTS_TRIED = 4, 8
"""Items of the batch whose outputs are compared with those alone; requests it is chosen from."""
ROUNDING = 1e-3
"""Largest difference, relative to the largest output; fp32 differs by about 1e-6."""


class _CheckedEnough(BaseException):
    """The quality evaluation has run as many requests as are checked."""


def check_runs(
    workload: TensorWorkload, module: "torch.nn.Module", requests: "list[Inputs]"
) -> Quality | None:
    """Run one request, a batch against its items, and `calls_checked` requests of the quality.

    Returns:
        The quality, of a part of the items if there are many; None if it needs further requests.

    Raises:
        WorkloadError: If one of them fails.
    """
    from tunefront.evaluators.interfaces.torch_tensors import run_of

    plain = run_of(module)
    _checked("model", lambda: plain(requests[0]))
    _checked("model", lambda: _check_rows(workload, plain))
    calls = 0

    def run(inputs: "Inputs") -> "list[Array]":
        nonlocal calls
        if calls == workload.calls_checked:
            raise _CheckedEnough
        calls += 1
        return plain(inputs)

    with suppress(_CheckedEnough):
        return _checked("quality", lambda: workload.quality(run, None, lambda items, weights: True))
    return None


def item_notes(workload: AnyWorkload, requests: "list[Inputs]") -> tuple[str, ...]:
    """Return a note if another batch size has other items, of other sizes, than `requests`."""
    if not isinstance(workload, TensorWorkload) or not workload.sizes_vary:
        return ()
    if starts_with(requests[0], workload.requests(ROWS_CHECKED, REQUESTS_TRIED)[0]):
        return ()
    return (
        "the items of a request depend on the batch size, so throughputs of different batch sizes "
        "are those of different items; make `inputs` cut one fixed sequence of items into batches",
    )


def starts_with(narrow: "Inputs", wide: "Inputs") -> bool:
    """Return whether the wide request starts with the items of the narrow one, unpadded."""
    for row in range(len(next(iter(narrow.values())))):
        first, second = _alone(narrow, row), _alone(wide, row)
        if not all(np.array_equal(first[name], second[name]) for name in first):
            return False
    return True


def _check_rows(workload: TensorWorkload, run: "Callable[[Inputs], list[Array]]") -> None:
    """Compare the outputs of items in a padded batch with those of the items alone.

    Raises:
        WorkloadError: If they differ by more than rounding.
    """
    batch = _most_padded(workload.requests(ROWS_CHECKED, REQUESTS_TRIED))
    together = run(batch)[0]
    if together.ndim == 0 or len(together) != ROWS_CHECKED:
        return
    for row in range(ROWS_CHECKED):
        alone = run(_alone(batch, row))[0][0]
        shared = together[row][tuple(slice(0, size) for size in alone.shape)]
        if not np.allclose(
            shared, alone, rtol=ROUNDING, atol=ROUNDING * float(np.abs(alone).max())
        ):
            largest = number_text(float(np.abs(shared - alone).max()))
            raise WorkloadError(
                f"model: item {row + 1} has other outputs in a batch of {ROWS_CHECKED} than alone "
                f"(largest difference {largest}), so batch sizes can't be "
                "compared; padding must not change them: check the padding token of tokenizer and "
                "config.json, and that the model uses the attention mask"
            )


def _most_padded(requests: "list[Inputs]") -> "Inputs":
    """Return the request with the most padding; the first one if there is no mask."""
    return min(requests, key=lambda one: one[MASK].mean() if MASK in one else 0.0)


def _alone(batch: "Inputs", row: int) -> "Inputs":
    """Return an item of a batch without its padding."""
    if MASK not in batch:
        return {name: array[row : row + 1] for name, array in batch.items()}
    length = int(batch[MASK][row].sum())
    width = batch[MASK].shape[1]
    return {
        name: array[row : row + 1, :length]
        if array.shape[1:2] == (width,)
        else array[row : row + 1]
        for name, array in batch.items()
    }


def _checked(key: str, call: Callable[[], CheckedT]) -> CheckedT:
    try:
        return call()
    except TunefrontError:
        raise
    except Exception as error:  # a user's code can raise anything
        raise WorkloadError(
            f"{key}: the unchanged model can't be run: {named_error(error)}"
        ) from error


def check_repeatable(
    workload: AnyWorkload, module: "torch.nn.Module | None", requests: Iterable[object]
) -> None:
    """Raise WorkloadError if a second call returns other weights or requests."""
    if module is not None and module_digest(workload.load_module()) != module_digest(module):
        raise WorkloadError(
            "model: the weights differ from one call to the next, but every process loads the "
            "model itself; seed them with torch.manual_seed, or load them from a file"
        )
    if digest_of(workload.requests(2, 1)) != digest_of(requests):
        raise WorkloadError(
            "inputs: the requests differ from one call to the next, but all candidates are "
            "measured with the same ones; use a fixed seed, e.g. numpy.random.default_rng(0)"
        )


def module_digest(module: "torch.nn.Module") -> str:
    """Return a hash of a module's classes, parameters and buffers."""
    classes = sorted({f"{type(m).__module__}.{type(m).__qualname__}" for m in module.modules()})
    tensors = {
        name: _plain_array(tensor)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    return digest_of([classes, tensors])


def _plain_array(tensor: "torch.Tensor") -> "Array":
    """Return the bytes of a tensor of any dtype as an array."""
    import torch

    found: Array = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return found
