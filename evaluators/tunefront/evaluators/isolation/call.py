"""Calls of functions by name with plain values, on the receiving side of a process border."""

import importlib
from collections.abc import Callable
from typing import Any, get_type_hints

from .codec import from_plain, to_plain


def run_plain(function: str, request: object) -> Any:
    """Call a function with a request as plain values; return its result as plain values.

    The request is read as the type that annotates the function's first parameter; a function
    without annotations gets the plain values.

    Args:
        function: `module:function`.
        request: Plain values of the function's only argument.

    Raises:
        CodecError: If the request does not have the form of its type.
    """
    module, _, name = function.partition(":")
    called = getattr(importlib.import_module(module), name)
    kinds = [kind for parameter, kind in get_type_hints(called).items() if parameter != "return"]
    return to_plain(called(from_plain(kinds[0], request) if kinds else request))


def function_name(function: Callable[..., object]) -> str:
    """Return `module:function`, by which another process finds a function of a module."""
    return f"{function.__module__}:{function.__qualname__}"
