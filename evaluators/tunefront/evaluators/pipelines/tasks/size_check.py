"""Whether a candidate computes what its module does, at other sizes than it was built with."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.spaces import EvaluationError, named_error

OTHER_BATCH, TRIED = 3, 4
"""Batch size that differs from the example's, and requests from which the sizes are chosen."""
MOST_VALUES = 4096
"""Values of an output that are kept; of larger outputs evenly spaced ones."""
_FILE, _SHAPES = "outputs.npz", "shapes.json"


def write_outputs(
    run: Callable[[Inputs], Sequence[Array]],
    example: Inputs,
    requests: Sequence[Inputs],
    folder: Path,
) -> None:
    """Write the module's outputs for the example and for two requests of other sizes.

    Args:
        run: Runs the module.
        example: A request of the size that builds are traced with.
        requests: Requests of another batch size; the shortest and the longest are used.
        folder: Folder to write to.
    """
    ordered = sorted(requests, key=lambda one: sum(array.size for array in one.values()))
    arrays: dict[str, Array] = {}
    shapes: list[list[int]] = []
    for place, request in enumerate((example, ordered[0], ordered[-1])):
        output = run(request)[0]
        arrays |= {f"{place}/{name}": array for name, array in request.items()}
        arrays[f"{place}"] = _some(output)
        shapes.append(list(output.shape))
    np.savez(folder / _FILE, allow_pickle=False, **arrays)
    (folder / _SHAPES).write_text(json.dumps(shapes))


def check_outputs(endpoint: TensorEndpoint, folder: Path) -> None:
    """Compare a candidate's outputs with those that `write_outputs` wrote.

    The error at other sizes may be some times that of the example, which quantization causes.

    Raises:
        EvaluationError: If it is larger, or the shape differs (cause "unsupported").
    """
    with np.load(folder / _FILE, allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    allowed = float("inf")
    for place, shape in enumerate(json.loads((folder / _SHAPES).read_text())):
        request = {
            name.partition("/")[2]: array
            for name, array in kept.items()
            if name.startswith(f"{place}/")
        }
        # An error at the size that it was built with has another cause, such as memory.
        output = _call(endpoint, request) if place else endpoint(request)[0]
        error = _error(output, kept[str(place)], shape, request)
        if place == 0:
            allowed = 5 * error + 0.02
        elif not error <= allowed:  # also if it is not a number
            far, near = (percent_text(share, decimals=0) for share in (error, allowed))
            raise EvaluationError(
                f"outputs differ from the module's by {far} of their size at "
                f"{_sizes(request)}, although by less than {near} at the size it was built "
                "with: the runtime fixed a dimension that varies",
                cause="unsupported",
            )


def _call(endpoint: TensorEndpoint, request: Inputs) -> Array:
    try:
        return endpoint(request)[0]
    except (EvaluationError, MemoryError):
        raise
    except Exception as error:  # runtimes raise many types; all mean: not at this size
        raise EvaluationError(
            f"the built model can't run {_sizes(request)}: {named_error(error)}",
            cause="unsupported",
        ) from error


def _error(output: Array, expected: Array, shape: Sequence[int], request: Inputs) -> float:
    """Return the root mean square of the difference, relative to that of the expected values."""
    if list(output.shape) != list(shape):
        raise EvaluationError(
            f"the output of {_sizes(request)} must have shape {tuple(shape)}, but has "
            f"{output.shape}: the runtime fixed a dimension that varies",
            cause="unsupported",
        )
    difference = _some(output).astype(np.float64) - expected
    size = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    return float(np.sqrt(np.mean(np.square(difference)))) / max(size, 1e-12)


def _some(output: Array) -> Array:
    flat = output.ravel()
    return flat[:: -(-flat.size // MOST_VALUES)] if flat.size else flat


def _sizes(request: Inputs) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in request.items())
