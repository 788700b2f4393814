"""How the front grew: the hypervolume's share of what it came to, trial by trial."""

import numpy as np

from tunefront.search.front.pareto import Costs, hypervolume, nondominated
from tunefront.search.front.picks import within
from tunefront.search.results.result import Answer
from tunefront.search.sampling.surrogate.targets import learnable


def history_of(answer: Answer) -> list[tuple[int, float]]:
    """For the number of every trial within limits, the share that was reached by then, 0 to 1.

    Figures are scaled as the sampler's; the reference lies as far beyond the front's worst values
    as these lie from its best ones.
    """
    kept = within(answer.trials, answer.experiment.limits)
    if not kept:
        return []
    objectives = answer.experiment.objectives
    costs = np.stack([learnable(kept, o.metric, o.sign)[0] for o in objectives], axis=1)
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
