"""The interval of a metric that every round of fresh processes measures once."""

import math
from collections.abc import Sequence

import numpy as np

from .arrays import Floats
from .intervals import student_quantile


def rounds_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of the rounds' values and its 95 % interval.

    The interval is Student's of the mean, with one degree of freedom less than there are rounds. It
    is that of the logarithms if all values are positive. It is extended to contain all values. A
    single value is its own interval.
    """
    found = np.asarray(values, dtype=np.float64)
    least, most = float(found.min()), float(found.max())
    if least == most:
        return most, most, most
    if least > 0:
        low, high = (math.exp(end) for end in _mean_ends(np.log(found)))
    else:
        low, high = _mean_ends(found)
    return float(np.median(found)), min(low, least), max(high, most)


def _mean_ends(values: Floats) -> tuple[float, float]:
    """Return the ends of Student's 95 % interval of the mean of `(n,)` values."""
    half = student_quantile(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half
