"""Means and perplexity over items, with their errors."""

import numpy as np

from .arrays import Array
from .measurement import Measurement


def mean_of(items: Array, unit: str = "") -> Measurement:
    """The mean over items of shape `(items,)` with its standard error."""
    count = len(items)
    error = float(np.std(items, ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    return Measurement.with_error(float(np.mean(items)), unit, error, count)


def perplexity_of(losses: Array, tokens: Array) -> Measurement:
    """Exp of the mean loss a token, with the delta method's error; items are the clusters.

    Args:
        losses: Summed negative log-likelihood of every item, in nats, shape `(items,)`.
        tokens: Predicted tokens of every item, shape `(items,)`.

    The variance of a ratio of sums is that of its residuals (Cochran, Sampling Techniques, 6.3).
    """
    count = len(losses)
    ratio = float(losses.sum() / tokens.sum())
    residuals = losses - ratio * tokens
    error = float(np.sqrt((residuals**2).sum() / max(count - 1, 1) / count) / tokens.mean())
    value = float(np.exp(ratio))
    return Measurement.with_error(value, "", value * error, count)
