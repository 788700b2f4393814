"""Mean and perplexity over items, with standard errors."""

import numpy as np

from .arrays import Array
from .measurement import Measurement


def mean_of(items: Array, unit: str = "") -> Measurement:
    """Return the mean over items of shape `(items,)` with its 95 % interval."""
    count = len(items)
    error = float(np.std(items, ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    return Measurement.with_error(float(np.mean(items)), unit, error, count)


def perplexity_of(losses: Array, tokens: Array) -> Measurement:
    """Return exp of the mean loss per token, its error by the delta method with items as clusters.

    Args:
        losses: Summed negative log-likelihood of each item, in nats, shape `(items,)`.
        tokens: Number of predicted tokens of each item, shape `(items,)`.

    The variance of a ratio of sums is that of its residuals (Cochran, Sampling Techniques, 6.3).
    """
    count = len(losses)
    ratio = float(losses.sum() / tokens.sum())
    residuals = losses - ratio * tokens
    error = float(np.sqrt((residuals**2).sum() / max(count - 1, 1) / count) / tokens.mean())
    value = float(np.exp(ratio))
    return Measurement.with_error(value, "", value * error, count)
