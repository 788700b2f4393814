"""History of the front: hypervolume after every trial as a share of its final value."""

import numpy as np

from tunefront.search.front.pareto import Costs, hypervolume, nondominated
from tunefront.search.results.result import Result
from tunefront.search.sampling.surrogate.targets import learnable


def history_of(result: Result) -> list[tuple[int, float]]:
    """Return for every trial within limits its number and the share reached by then, 0 to 1.

    Values are scaled as for the sampler (linear or log). In every objective the reference point is
    the front's worst value plus the front's range; if that is zero, plus the range of all trials
    within limits, or 1.
    """
    views = result.views.values()
    kept = [view.trial for view in views if view.trial.measured and not view.misses]
    if not kept:
        return []
    objectives = result.experiment.objectives
    costs = np.stack([learnable(kept, o)[0] for o in objectives], axis=1)
    reference = _reference(costs)
    whole = hypervolume(costs[nondominated(costs)], reference)
    best = costs[:0]
    found: list[tuple[int, float]] = []
    for trial, row in zip(kept, costs, strict=True):
        best = np.concatenate([best, row[None]])
        best = best[nondominated(best)]
        found.append((trial.number, hypervolume(best, reference) / whole))
    return found


def _reference(costs: Costs) -> Costs:
    front = costs[nondominated(costs)]
    low, high = front.min(axis=0), front.max(axis=0)
    widest = costs.max(axis=0) - costs.min(axis=0)
    span = np.where(high > low, high - low, np.where(widest > 0, widest, 1.0))
    found: Costs = high + span
    return found
