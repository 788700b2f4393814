"""Dominance, hypervolume and ties: pure functions over arrays where less is better."""

import moocore
import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]
"""Shape `(trials, objectives)`, less is better."""
FAR_DEVIATIONS = 5.0
"""Deviations within which drawn figures are taken to lie: 1 in 2 million does not."""
SMALLEST_DIFFERENCE = 0.01
"""Figures closer than this share are one figure, whatever their intervals say."""


def nondominated(costs: Costs) -> npt.NDArray[np.bool_]:
    """Which rows nothing else beats, shape `(trials,)`; equal rows beat neither."""
    if len(costs) == 0:
        return np.zeros(0, dtype=np.bool_)
    kept: npt.NDArray[np.bool_] = moocore.is_nondominated(costs, keep_weakly=True)
    return kept


def hypervolume(costs: Costs, reference: Costs) -> float:
    """Volume that the rows dominate up to `reference`, shape `(objectives,)`."""
    inside = costs[(costs < reference).all(axis=1)] if len(costs) else costs
    if len(inside) == 0:
        return 0.0
    return float(moocore.hypervolume(inside, ref=reference))


def chances(
    middle: Costs, low: Costs, high: Costs, draws: int = 400, seed: int = 0
) -> npt.NDArray[np.float64]:
    """The probability of every row to be on the front, given its 95 % intervals, `(trials,)`.

    Args:
        middle: The figures.
        low: Lower ends of the intervals.
        high: Upper ends of the intervals.
        draws: How often figures are drawn, each from its own normal distribution.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    spread = (high - low) / (2 * 1.96)
    drawn = np.flatnonzero(
        ~_hopeless(middle - FAR_DEVIATIONS * spread, middle + FAR_DEVIATIONS * spread)
    )
    counts = np.zeros(len(middle))
    for _ in range(draws):
        noise = spread[drawn] * random.standard_normal((len(drawn), middle.shape[1]))
        counts[drawn] += nondominated(middle[drawn] + noise)
    found: npt.NDArray[np.float64] = counts / draws
    return found


def _hopeless(best: Costs, worst: Costs) -> npt.NDArray[np.bool_]:
    """Which rows are beaten at their best by another row at its worst, shape `(trials,)`.

    Those can't keep others from the front either: what beats them beats what they beat.
    """
    sure = worst[nondominated(worst)]
    below = (sure[:, None] <= best[None]).all(axis=2) & (sure[:, None] < best[None]).any(axis=2)
    return np.asarray(below.any(axis=0))


def normalised(costs: Costs) -> Costs:
    """Every objective to 0 (the best row) ... 1 (the worst row); a constant one to 0."""
    low, high = costs.min(axis=0), costs.max(axis=0)
    span: Costs = np.where(high > low, high - low, 1.0)
    scaled: Costs = (costs - low) / span
    return scaled


def indistinguishable(low: Costs, high: Costs, row: int) -> npt.NDArray[np.bool_]:
    """Which rows can't be told apart from one in any objective, itself among them, `(trials,)`.

    Args:
        low: Lower ends of the intervals.
        high: Upper ends of the intervals.
        row: The one.

    Two figures are apart when their intervals are, and when they differ by 1 % or more.
    """
    middle = (low + high) / 2
    overlap = (low[row] <= high) & (low <= high[row])
    scale = np.maximum(np.abs(middle[row]), np.abs(middle))
    near = np.abs(middle - middle[row]) <= SMALLEST_DIFFERENCE * scale
    same: npt.NDArray[np.bool_] = np.all(overlap | near, axis=1)
    return same


def knee(costs: Costs) -> int:
    """The row nearest to the best of everything, after normalising."""
    return int(np.argmin(np.linalg.norm(normalised(costs), axis=1)))
