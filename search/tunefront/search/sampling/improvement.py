"""Expected hypervolume improvement, exact where that is affordable, else approximate."""

from dataclasses import dataclass

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.front.pareto import hypervolume

from .box_improvement import dominated_boxes, improvement_over_boxes
from .hypervolume_improvement import expected_hypervolume_improvement
from .sampled_improvement import sampled_improvement

MOST_CELLS = 1_000_000
"""Largest number of cells of the grid; larger fronts are decomposed into boxes."""
WORK = 100_000_000
"""Largest number of array elements, candidates x objectives x boxes or samples; about half a second
of one core."""
MOST_BOXES = 30_000
"""Largest number of boxes, whatever the number of candidates."""
MOST_SAMPLES, FEWEST_SAMPLES = 2**14, 2**9
"""Bounds of the number of samples of an approximation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """Expected hypervolume improvements of a list of configurations.

    Attributes:
        gain: Expected hypervolume improvement, `(candidates,)`.
        covered: Hypervolume of the current front.
        samples: Number of samples by which both are approximated; 0 if they are exact.
    """

    gain: Floats
    covered: float
    samples: int = 0


def improvement_of(
    front: Floats, reference: Floats, mean: Floats, deviation: Floats
) -> Improvement:
    """Return the expected hypervolume improvements.

    A grid is used up to `MOST_CELLS` cells (up to 3 objectives with fronts of 99 points, 4 with 30)
    and a decomposition into boxes beyond; both are exact. If there are too many boxes for the
    number of candidates, the improvements are approximated by sampling.

    Args:
        front: Nondominated points, `(points, objectives)`; points not below the reference are
            ignored.
        reference: Reference point of the hypervolume, `(objectives,)`.
        mean: Predicted means, `(candidates, objectives)`.
        deviation: Predicted standard deviations, `(candidates, objectives)`, positive.
    """
    inside = front[(front < reference).all(axis=1)]
    if (len(inside) + 1.0) ** len(reference) <= MOST_CELLS:
        gain = expected_hypervolume_improvement(inside, reference, mean, deviation)
        return Improvement(gain=gain, covered=hypervolume(inside, reference))
    affordable = WORK // max(1, mean.size)
    boxes = dominated_boxes(inside, reference, min(MOST_BOXES, affordable))
    if boxes is not None:
        gain = improvement_over_boxes(boxes, mean, deviation)
        return Improvement(gain=gain, covered=hypervolume(inside, reference))
    samples = 2 ** int(np.log2(np.clip(affordable, FEWEST_SAMPLES, MOST_SAMPLES)))
    gain, covered = sampled_improvement(inside, reference, mean, deviation, samples)
    return Improvement(gain=gain, covered=covered, samples=samples)
