"""A path into a JSON value: names of keys and indices, separated by dots."""

import json
from collections.abc import Mapping
from typing import NoReturn

LISTED_KEYS = 8
"""Keys of an object that a message names."""
SHOWN_CHARACTERS = 80
"""Characters of a value in a message."""


def json_value(content: bytes) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: If it is not JSON; NaN and infinite numbers are not.
    """
    found: object = json.loads(content, parse_constant=_refuse)
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def value_at(value: object, path: str) -> object:
    """Return the part of a JSON value at a path; the whole value if the path is empty.

    Raises:
        LookupError: If there is none; the message names where the path ends, and what is there.
    """
    names = path.split(".") if path else []
    for place, name in enumerate(names):
        found = _part(value, name)
        if found is None:
            here = ".".join(names[:place])
            raise LookupError(f"{name!r} is missing{f' in {here}' if here else ''}: {_what(value)}")
        (value,) = found
    return value


def _part(value: object, name: str) -> tuple[object] | None:
    """Return the part of a name; None if there is none."""
    if isinstance(value, Mapping) and name in value:
        return (value[name],)
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return (value[int(name)],)
    return None


def _what(value: object) -> str:
    if isinstance(value, Mapping):
        listed = ", ".join(list(map(str, value))[:LISTED_KEYS]) or "none"
        return f"its keys are {listed}"
    if isinstance(value, list):
        return f"it is a list of {len(value)}"
    return f"it is {json.dumps(value)[:SHOWN_CHARACTERS]}"
