"""Validation of an experiment file against its schema; errors name line, key, value and rule."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tunefront.spaces import ExperimentError, did_you_mean

from .document import Document
from .schema import ExperimentSection

LONGEST_VALUE = 200
"""Most characters of a value in an error message."""
MOST_PROBLEMS = 20
"""Most problems of a file that are explained."""


def validated(document: Document) -> ExperimentSection:
    """Return the sections of a file.

    Raises:
        ExperimentError: If a key is unknown or missing, or a value breaks its rule; one line with
            file, line, key, value and rule for each.
    """
    try:
        return ExperimentSection.model_validate(dict(document.values))
    except ValidationError as error:
        found = error.errors()
        problems = [_explain(document, dict(problem)) for problem in found[:MOST_PROBLEMS]]
        if len(found) > MOST_PROBLEMS:
            problems.append(f"{document.path}: {len(found) - MOST_PROBLEMS} further problems")
        raise ExperimentError("\n".join(problems)) from error


def _explain(document: Document, problem: Mapping[str, Any]) -> str:
    key = tuple(problem["loc"])
    place = document.place(key)
    value = problem.get("input")
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key{did_you_mean(str(key[-1]), _fields(key[:-1]))}"
    if problem["type"] == "missing":
        return f"{place}: this key is needed, but it is missing"
    if problem["type"] == "literal_error":
        known = str(problem["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return f"{place}: unknown value {_shown(value)}{did_you_mean(str(value), known)}"
    message = str(problem["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    message = message.partition(", unable to parse")[0]
    return f"{place}: {message} is needed, but got {_shown(value)}"


def _shown(value: object) -> str:
    """Return a value for an error message, cut to a few lines."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _fields(key: Sequence[str | int]) -> list[str]:
    """Return the valid keys of a section of the file."""
    model: Any = ExperimentSection
    for part in key:
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields)
