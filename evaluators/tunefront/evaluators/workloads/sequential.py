"""Sequential evaluation of quality: growing random portions of the items, with early stopping."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tunefront.evaluators.statistics.arrays import Array

from .base import EnoughItems

LOOKS = (1 / 8, 1 / 4, 1 / 2)
"""Fractions of the items after which an interim test is made."""
LEAST_ITEMS = 32
"""Minimum number of items before the first interim test."""
SAMPLED = 12
"""Number of example outputs; below `LEAST_ITEMS`, so that every candidate evaluates these items."""
ItemIndices = npt.NDArray[np.int64]
Score = Callable[[ItemIndices], tuple[Array, Array]]
"""Evaluates the items at the given indices: values of the primary metric, and weights."""


def portions(count: int) -> list[ItemIndices]:
    """Return all indices in a fixed random order, split at the interim tests."""
    order = _order(count)
    cuts = [int(share * count) for share in LOOKS if share * count >= LEAST_ITEMS]
    return [np.sort(portion) for portion in np.split(order, cuts)]


def sampled(count: int) -> ItemIndices:
    """Return the indices of the example items: fixed, random, and part of the first portion."""
    return np.sort(_order(count)[:SAMPLED])


def sample_of(count: int, batch_size: int, batches: int) -> list[list[int]]:
    """Return the indices of the timed items, cut into batches.

    The items and their order are the same for every batch size: all in a fixed random order, then
    all in another one, as often as needed.
    """
    random = np.random.default_rng(0)
    wanted = batch_size * batches
    orders = [random.permutation(count) for _ in range(-(-wanted // count))]
    places = np.concatenate(orders)[:wanted].reshape(batches, batch_size)
    found: list[list[int]] = places.tolist()
    return found


def _order(count: int) -> ItemIndices:
    return np.random.default_rng(0).permutation(count)


def evaluate_items(count: int, score: Score, enough: EnoughItems | None) -> tuple[Array, Array]:
    """Evaluate the items, portion by portion.

    Args:
        count: Number of items.
        score: Evaluates the items at the given indices.
        enough: Called at every interim test; True stops the evaluation. None evaluates all items
            in one portion.

    Returns:
        Items and weights, shapes `(count,)`; the weight of an item that was not evaluated is 0.
    """
    items, weights = np.zeros(count), np.zeros(count)
    parts = [np.arange(count)] if enough is None else portions(count)
    for number, places in enumerate(parts, start=1):
        items[places], weights[places] = score(places)
        if enough is not None and number < len(parts) and enough(items, weights):
            break
    return items, weights


def evaluated_places(weights: Array) -> npt.NDArray[Any]:
    """Return the indices of the evaluated items."""
    return np.flatnonzero(weights > 0)
