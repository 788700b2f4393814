"""Exact expected hypervolume improvement with many objectives: boxes in place of a grid.

The improvement is the volume between a point and the reference, less the part of it that the front
dominates already. The dominated region is a union of disjoint boxes, one for each local upper bound
of the front (Lacour, Klamroth and Fonseca 2017, "A box decomposition algorithm to compute the
hypervolume indicator"); for independent normal predictions the expectation over a box is a product.
A front of n points has about n**(objectives // 2) boxes, where a grid has (n + 1)**objectives
cells. All objectives are minimised.
"""

from dataclasses import dataclass

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats, Indices

from .hypervolume_improvement import expected_below

_CHUNK = 200_000
"""Array elements processed at once; the arrays then stay in the processor's cache."""
_ROUNDING = 1e-12
"""Improvements below this share of the whole volume are rounding errors and count as zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """The region that a front dominates, as disjoint boxes.

    Attributes:
        cuts: For each objective the front's values in ascending order, then the reference's.
        low: Lower ends of the boxes as indices of `cuts`, `(boxes, objectives)`.
        high: Upper ends, likewise.
    """

    cuts: tuple[Floats, ...]
    low: Indices
    high: Indices


def dominated_boxes(front: Floats, reference: Floats, most: int) -> Boxes | None:
    """Return the boxes of the region that a front dominates; None if there are more than `most`.

    The boxes are found for the ranks of the values, equal values in the order of the rows: the
    algorithm needs points that differ in all objectives.

    Args:
        front: Nondominated points below the reference, `(points, objectives)`.
        reference: Reference point of the hypervolume, `(objectives,)`.
        most: Largest number of local upper bounds.
    """
    points, objectives = front.shape
    orders = np.argsort(front, axis=0, kind="stable")
    ranks = np.argsort(orders, axis=0, kind="stable")
    bounds = np.full((1, objectives), points)
    # Of every bound the points that define it, one for each of its coordinates.
    defining = np.full((1, objectives, objectives), -1)
    defining[0, range(objectives), range(objectives)] = points
    for rank in ranks:
        bounds, defining = _add(rank, bounds, defining)
        if len(bounds) > most:
            return None
    upper, lower = bounds.copy(), np.empty_like(bounds)
    upper[:, 0], lower[:, 0] = points, defining[:, 0, 0]
    for objective in range(1, objectives):
        lower[:, objective] = defining[:, :objective, objective].max(axis=1)
    some = (lower < upper).all(axis=1)
    values = np.append(np.take_along_axis(front, orders, axis=0), reference[None], axis=0)
    return Boxes(cuts=tuple(values.T), low=lower[some], high=upper[some])


def _add(point: Indices, bounds: Indices, defining: Indices) -> tuple[Indices, Indices]:
    """Add a point: replace each local upper bound that it lies below by its projections."""
    below = (point < bounds).all(axis=1)
    split, points = bounds[below], defining[below]
    new_bounds, new_defining = [bounds[~below]], [defining[~below]]
    for objective in range(len(point)):
        others = np.delete(points[:, :, objective], objective, axis=1).max(axis=1, initial=-1)
        kept = point[objective] > others
        bound, defined = split[kept], points[kept]
        bound[:, objective] = point[objective]
        defined[:, objective] = point
        new_bounds.append(bound)
        new_defining.append(defined)
    return np.concatenate(new_bounds), np.concatenate(new_defining)


def improvement_over_boxes(boxes: Boxes, mean: Floats, deviation: Floats) -> Floats:
    """Return the expected hypervolume improvement, `(candidates,)`.

    Args:
        boxes: The region that the front dominates.
        mean: Predicted means, `(candidates, objectives)`.
        deviation: Predicted standard deviations, `(candidates, objectives)`, positive.
    """
    some = max(1, _CHUNK // max(1, len(boxes.low)))
    parts = [
        _improvement(boxes, mean[begin : begin + some], deviation[begin : begin + some])
        for begin in range(0, len(mean), some)
    ]
    return np.concatenate(parts)


def _improvement(boxes: Boxes, mean: Floats, deviation: Floats) -> Floats:
    whole = np.ones(len(mean))
    inside = np.ones((len(mean), len(boxes.low)))
    for objective, cuts in enumerate(boxes.cuts):
        below = expected_below(cuts, mean[:, objective], deviation[:, objective])
        whole *= below[:, -1]
        overlap = below[:, boxes.high[:, objective]]
        overlap -= below[:, boxes.low[:, objective]]
        inside *= overlap
    gain = whole - inside.sum(axis=1)
    return np.where(gain > _ROUNDING * whole, gain, 0.0)
