"""Dominance, hypervolume and ties: pure functions over cost arrays (lower is better)."""

import moocore
import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]
"""Objective values, shape `(trials, objectives)`; lower is better."""
SMALLEST_DIFFERENCE = 0.01
"""Values within this relative difference count as equal, even if their intervals are disjoint."""


def nondominated(costs: Costs) -> npt.NDArray[np.bool_]:
    """Return the mask of nondominated rows, shape `(trials,)`; equal rows are all kept."""
    if len(costs) == 0:
        return np.zeros(0, dtype=np.bool_)
    kept: npt.NDArray[np.bool_] = moocore.is_nondominated(costs, keep_weakly=True)
    return kept


def hypervolume(costs: Costs, reference: Costs) -> float:
    """Return the volume between the rows and `reference`, a point of shape `(objectives,)`."""
    inside = costs[(costs < reference).all(axis=1)] if len(costs) else costs
    if len(inside) == 0:
        return 0.0
    return float(moocore.hypervolume(inside, ref=reference))


def normalised(costs: Costs) -> Costs:
    """Scale every objective from 0 (best row) to 1 (worst row); a constant objective becomes 0."""
    low, high = costs.min(axis=0), costs.max(axis=0)
    span: Costs = np.where(high > low, high - low, 1.0)
    scaled: Costs = (costs - low) / span
    return scaled


def indistinguishable(middle: Costs, low: Costs, high: Costs, row: int) -> npt.NDArray[np.bool_]:
    """Return the mask of rows that tie with `row` in all objectives (`row` included), `(trials,)`.

    Two values tie if the worse one lies within the interval of the better one, or if they differ by
    at most 1 %. A wide interval of the worse one is no likeness: it only means that little is known
    about that value.

    Args:
        middle: The values, `(trials, objectives)`.
        low: Lower ends of their intervals; an interval contains its value.
        high: Upper ends of their intervals.
        row: Index of the row to compare with.
    """
    better = middle[row] <= middle
    inside = np.where(better, middle <= high[row], middle[row] <= high)
    scale = np.maximum(np.abs(middle[row]), np.abs(middle))
    near = np.abs(middle - middle[row]) <= SMALLEST_DIFFERENCE * scale
    same: npt.NDArray[np.bool_] = np.all(inside | near, axis=1)
    return same


def knee(costs: Costs) -> int:
    """Return the index of the row nearest to the ideal point, after normalisation."""
    return int(np.argmin(np.linalg.norm(normalised(costs), axis=1)))
