"""Python functions that an experiment names as `package.module:function`."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError, Value, WorkloadError


def call(
    written: str, folder: str, *arguments: object, configuration: Mapping[str, Value] | None = None
) -> object:
    """Call a function, with the values of all choices if it has a parameter `configuration`.

    Args:
        written: The function as written in the experiment.
        folder: Folder of the experiment, where its module is looked for first.
        arguments: Arguments of the call.
        configuration: Values of all choices by name.

    Raises:
        WorkloadError: If its module can't be imported or has no such function.
    """
    module, _, name = written.partition(":")
    function = getattr(sys.modules[_imported(written, module, folder)], name, None)
    if not callable(function):
        raise WorkloadError(f"workload: {written} is not a function of that module")
    named: dict[str, object] = {}
    if "configuration" in inspect.signature(function).parameters:
        named["configuration"] = dict(configuration or {})
    return cast(Callable[..., object], function)(*arguments, **named)


def files_of(written: Sequence[str], folder: str) -> tuple[Path, ...]:
    """Return the source files of functions, each once.

    Raises:
        WorkloadError: If a module can't be imported.
    """
    modules = {_imported(name, name.partition(":")[0], folder) for name in written}
    return tuple(sorted(Path(str(sys.modules[module].__file__)) for module in modules))


def scores_of(name: str, returned: object) -> Array:
    """Return what a function that evaluates quality has returned as scores, shape `(items,)`.

    Raises:
        EvaluationError: If it is not a finite number or a list of finite numbers (cause "invalid
            output").
    """
    try:
        items = np.atleast_1d(np.asarray(returned, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise EvaluationError(
            f"quality: {name} must return a number or numbers, "
            f"but returned {type(returned).__name__}",
            cause="invalid output",
        ) from error
    if items.ndim != 1 or not len(items):
        raise EvaluationError(
            f"quality: {name} must return a number or a list of numbers, but returned an array "
            f"of shape {items.shape}",
            cause="invalid output",
        )
    if broken := np.flatnonzero(~np.isfinite(items)).size:
        raise EvaluationError(
            f"quality: {name} must return finite numbers, but {broken} of {len(items)} are not",
            cause="invalid output",
        )
    return items


def _imported(written: str, module: str, folder: str) -> str:
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise WorkloadError(
            f"workload: {written}: module {module!r} can't be imported from {folder}: {error}"
        ) from error
    return module
