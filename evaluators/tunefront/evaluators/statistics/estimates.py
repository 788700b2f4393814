"""Mean and perplexity over items, with standard errors."""

import numpy as np

from .arrays import Array
from .measurement import Measurement


def mean_of(items: Array, unit: str = "") -> Measurement:
    """Return the mean over items of shape `(items,)` with its 95 % interval."""
    count = len(items)
    error = float(np.std(items, ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    return Measurement.with_error(float(np.mean(items)), unit, error, count)


def ratio_of(totals: Array, counts: Array, unit: str = "") -> Measurement:
    """Return the mean over all parts of the items, with its 95 % interval; items are clusters.

    Args:
        totals: Sum over the parts of each item, such as the losses of its tokens, shape `(items,)`.
        counts: Number of parts of each item, shape `(items,)`.
        unit: The unit of the values.
    """
    ratio, error = _ratio(totals, counts)
    return Measurement.with_error(ratio, unit, error, len(totals))


def perplexity_of(losses: Array, tokens: Array) -> Measurement:
    """Return exp of the mean loss per token, its error by the delta method with items as clusters.

    Args:
        losses: Summed negative log-likelihood of each item, in nats, shape `(items,)`.
        tokens: Number of predicted tokens of each item, shape `(items,)`.
    """
    ratio, error = _ratio(losses, tokens)
    value = float(np.exp(ratio))
    return Measurement.with_error(value, "", value * error, len(losses))


def _ratio(totals: Array, counts: Array) -> tuple[float, float]:
    """Return the ratio of two sums over items, and its standard error.

    The variance of a ratio of sums is that of its residuals (Cochran, Sampling Techniques, 6.3).
    """
    items = len(totals)
    ratio = float(totals.sum() / counts.sum())
    residuals = totals - ratio * counts
    error = float(np.sqrt((residuals**2).sum() / max(items - 1, 1) / items) / counts.mean())
    return ratio, error
