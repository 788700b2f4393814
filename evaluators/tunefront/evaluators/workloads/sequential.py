"""Items judged in growing portions, drawn at random, so that judging may end when it is decided."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.arrays import Array

from .base import EnoughItems

LOOKS = (1 / 8, 1 / 4, 1 / 2)
"""Shares of the items after which judging may end."""
LEAST_ITEMS = 32
"""Items that must be judged before a look is worth one."""
SAMPLED = 12
"""Items whose answers are shown to people; fewer than any candidate is judged on."""
ItemIndices = npt.NDArray[np.int64]
Score = Callable[[ItemIndices], tuple[Array, Array]]
"""Judges the items at these places: their parts of the primary metric, and their weights."""


def portions(count: int) -> list[ItemIndices]:
    """All places in random order (the same at every call), cut at the looks."""
    order = _order(count)
    cuts = [int(share * count) for share in LOOKS if share * count >= LEAST_ITEMS]
    return [np.sort(portion) for portion in np.split(order, cuts)]


def sampled(count: int) -> ItemIndices:
    """A few places spread over all, the same at every call: of those that are judged first."""
    return np.sort(_order(count)[:SAMPLED])


def _order(count: int) -> ItemIndices:
    return np.random.default_rng(0).permutation(count)


def judge(count: int, score: Score, enough: EnoughItems | None) -> tuple[Array, Array]:
    """Items and weights, shapes `(count,)`; the weight is 0 where judging ended before.

    Args:
        count: Items there are.
        score: Judges some of them.
        enough: Asked at every look; None judges all in one go.
    """
    items, weights = np.zeros(count), np.zeros(count)
    parts = [np.arange(count)] if enough is None else portions(count)
    for number, places in enumerate(parts, start=1):
        items[places], weights[places] = score(places)
        if enough is not None and number < len(parts) and enough(items, weights):
            break
    return items, weights


def judged(weights: Array) -> npt.NDArray[Any]:
    """The places that were judged."""
    return np.flatnonzero(weights > 0)
