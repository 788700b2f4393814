"""Means and errors over items: pure functions over numpy arrays."""

import numpy as np

from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import EvaluationError


def finite(outputs: Array, name: str) -> Array:
    """The outputs as they are, or an error where any is NaN or infinite."""
    if not np.isfinite(outputs).all():
        raise EvaluationError(f"{name} holds NaN or infinite values", cause="invalid output")
    return outputs
