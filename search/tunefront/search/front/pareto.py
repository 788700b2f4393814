"""Dominance, hypervolume and ties: pure functions over cost arrays (lower is better)."""

import moocore
import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]
"""Objective values, shape `(trials, objectives)`; lower is better."""
FAR_DEVIATIONS = 5.0
"""Standard deviations assumed to bound a sampled value; 1 sample in 2 million lies outside."""
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


def chances(
    middle: Costs, low: Costs, high: Costs, draws: int = 400, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return the probability that each row is on the front, shape `(trials,)`.

    Monte Carlo estimate: every value is drawn from an independent normal distribution.

    Args:
        middle: Measured values, the means of the distributions.
        low: Lower ends of the 95 % intervals.
        high: Upper ends of the 95 % intervals.
        draws: Number of Monte Carlo samples.
        seed: Seed of the random generator.
    """
    random = np.random.default_rng(seed)
    spread = (high - low) / (2 * 1.96)
    drawn = np.flatnonzero(
        ~_surely_dominated(middle - FAR_DEVIATIONS * spread, middle + FAR_DEVIATIONS * spread)
    )
    counts = np.zeros(len(middle))
    for _ in range(draws):
        noise = spread[drawn] * random.standard_normal((len(drawn), middle.shape[1]))
        counts[drawn] += nondominated(middle[drawn] + noise)
    found: npt.NDArray[np.float64] = counts / draws
    return found


def _surely_dominated(best: Costs, worst: Costs) -> npt.NDArray[np.bool_]:
    """Return the mask of rows whose best case another row's worst case dominates, `(trials,)`.

    Such rows need no sampling and cannot keep another row off the front: dominance is
    transitive, so the row that dominates them dominates every row that they dominate.
    """
    sure = worst[nondominated(worst)]
    below = (sure[:, None] <= best[None]).all(axis=2) & (sure[:, None] < best[None]).any(axis=2)
    return np.asarray(below.any(axis=0))


def normalised(costs: Costs) -> Costs:
    """Scale every objective from 0 (best row) to 1 (worst row); a constant objective becomes 0."""
    low, high = costs.min(axis=0), costs.max(axis=0)
    span: Costs = np.where(high > low, high - low, 1.0)
    scaled: Costs = (costs - low) / span
    return scaled


def indistinguishable(low: Costs, high: Costs, row: int) -> npt.NDArray[np.bool_]:
    """Return the mask of rows that tie with `row` in all objectives (`row` included), `(trials,)`.

    Two values tie if their intervals overlap or their interval centres differ by at most 1 %.

    Args:
        low: Lower ends of the intervals, `(trials, objectives)`.
        high: Upper ends of the intervals, `(trials, objectives)`.
        row: Index of the row to compare with.
    """
    middle = (low + high) / 2
    overlap = (low[row] <= high) & (low <= high[row])
    scale = np.maximum(np.abs(middle[row]), np.abs(middle))
    near = np.abs(middle - middle[row]) <= SMALLEST_DIFFERENCE * scale
    same: npt.NDArray[np.bool_] = np.all(overlap | near, axis=1)
    return same


def knee(costs: Costs) -> int:
    """Return the index of the row nearest to the ideal point, after normalisation."""
    return int(np.argmin(np.linalg.norm(normalised(costs), axis=1)))
