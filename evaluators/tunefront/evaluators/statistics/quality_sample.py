"""The smallest change of quality that a number of items can show."""

from dataclasses import dataclass

import numpy as np

from tunefront.spaces.metric import Scale

from .arrays import Array
from .intervals import student_quantile
from .paired_quality import hits_and_misses, is_near_zero, level_of

CHANGED = 0.05
"""Share of hits and misses that are assumed to change, either way, in a candidate near a limit.

Weights of 8 bits changed 3 to 4 % (laptop quickstart, 192 items).
"""
CHANGING = 0.05
"""Spread of the change between items, as a share of the spread of the items; an assumption, too.

Weights of 8 bits had 0.02 (language-model quickstart, 64 texts).
"""
MOST_ITEMS = 10**9
"""Largest number of items that is considered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySample:
    """The items of a model's quality, from which the smallest change follows that can be seen.

    Attributes:
        items: Number of all items.
        evaluated: Number of items that were evaluated.
        level: Their weighted mean: the primary metric, or its logarithm (scale `log`).
        spread: Standard deviation of the items, as a share of the level; absolute (scale `log`).
        hits: Whether the items are hits and misses (1 or 0) of equal weight.
        near_zero: Whether the level cannot be distinguished from 0 (`is_near_zero`).
    """

    items: int
    evaluated: int
    level: float
    spread: float
    hits: bool
    near_zero: bool

    def smallest_change(self, items: int | None = None) -> float:
        """Return the smallest relative change that items can show.

        This is the half-width of the 95 % interval of the paired change (`paired_change`), with
        `CHANGED` or `CHANGING`. Below it, a candidate cannot be distinguished from the baseline.

        Args:
            items: Number of items; that of the sample if None.
        """
        count = self.items if items is None else items
        quantile = student_quantile(count - 1)
        if self.hits:
            return quantile * float(np.sqrt(CHANGED * count + 1)) / (count + 2) / self.level
        return quantile * CHANGING * self.spread / float(np.sqrt(count))

    def needed(self, change: float) -> int:
        """Return the number of items that show a relative change > 0, at most `MOST_ITEMS`."""
        low, high = 2, MOST_ITEMS
        while low < high:
            middle = (low + high) // 2
            low, high = (
                (low, middle) if self.smallest_change(middle) <= change else (middle + 1, high)
            )
        return low


def quality_sample(items: Array, scale: Scale) -> QualitySample | None:
    """Return the sample of some items; None for fewer than two evaluated items.

    Args:
        items: Values and weights, shape `(2, items)`; weight 0 marks an item that was not
            evaluated.
        scale: Scale of the primary metric.
    """
    values, weights = items[:, items[1] > 0]
    if len(values) < 2:
        return None
    level, near = level_of(items), is_near_zero(items, scale)
    deviations = weights * (values - level) / weights.mean()
    spread = float(np.sqrt((deviations**2).sum() / (len(values) - 1)))
    if scale == "linear" and not near:
        spread /= abs(level)
    return QualitySample(
        items=items.shape[1],
        evaluated=len(values),
        level=level,
        spread=spread,
        hits=scale == "linear" and hits_and_misses(values, weights),
        near_zero=near,
    )
