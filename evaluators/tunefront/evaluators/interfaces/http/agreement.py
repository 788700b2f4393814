"""Agreement of two JSON values: cosine similarity of numbers, else whether they are equal."""

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats


def numbers_of(value: object) -> Floats | None:
    """Return a list of numbers, or lists of them of one length each, as an array; None if not."""
    if not isinstance(value, list) or not value or not _is_numeric(value):
        return None
    try:
        found: Floats = np.asarray(value, dtype=np.float64)
    except ValueError:  # lists of different lengths
        return None
    return found


def _is_numeric(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_agreement(value: object, expected: object) -> float:
    """Return the cosine similarity of two lists of numbers of one shape; else 1 if equal, or 0.

    Args:
        value: A JSON value.
        expected: The one that it is compared with.
    """
    own, other = numbers_of(value), numbers_of(expected)
    if value == expected or own is None or other is None or own.shape != other.shape:
        return float(value == expected)
    length = float(np.linalg.norm(own) * np.linalg.norm(other))
    return float(np.vdot(own, other)) / length if length else 0.0
