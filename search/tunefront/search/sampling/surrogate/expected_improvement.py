"""Expected hypervolume improvement of independent normal figures: exact, over a grid of cells.

The space below the reference is cut at the front's own values; of every cell that the front doesn't
dominate, a point covers on average the product of its expected overlaps in each objective (Emmerich
et al. 2011). All objectives are minimised.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from tunefront.evaluators.statistics.arrays import Floats

Singles = npt.NDArray[np.float32]
NUMBERS = 4_000_000
"""Held at a time; what is more is worked off in parts."""


def expected_improvement(
    front: Floats, reference: Floats, mean: Floats, deviation: Floats
) -> Floats:
    """How much hypervolume each candidate adds on average, `(candidates,)`.

    Args:
        front: What nothing beats, `(points, objectives)`; points beyond the reference don't count.
        reference: The worst that counts, `(objectives,)`.
        mean: Of the candidates' figures, `(candidates, objectives)`.
        deviation: Of the candidates' figures, `(candidates, objectives)`, positive.
    """
    inside = front[(front < reference).all(axis=1)]
    overlaps: list[Singles] = []  # of each objective, (candidates, cells along it)
    lowers: list[Floats] = []
    for objective in range(len(reference)):
        cuts = np.append(np.unique(inside[:, objective]), reference[objective])
        below = _expected_below(cuts, mean[:, objective], deviation[:, objective])
        overlaps.append(np.diff(below, axis=1, prepend=0.0).astype(np.float32))
        lowers.append(np.concatenate([[-np.inf], cuts[:-1]]))
    open_cells = (~_dominated(inside, lowers)).astype(np.float32)
    some = max(1, NUMBERS * open_cells.shape[0] // open_cells.size)
    parts = [
        _covered([overlap[begin : begin + some] for overlap in overlaps], open_cells)
        for begin in range(0, len(mean), some)
    ]
    return np.concatenate(parts)


def _covered(overlaps: list[Singles], open_cells: Singles) -> Floats:
    """The sum over all open cells of the products of the overlaps, `(candidates,)`.

    None is negative, so that single precision keeps six digits, in half the time.
    """
    total = np.tensordot(overlaps[0], open_cells, axes=(1, 0))
    for overlap in overlaps[1:]:
        total = np.einsum("ci...,ci->c...", total, overlap)
    return np.asarray(total, dtype=np.float64)


def _expected_below(cuts: Floats, mean: Floats, deviation: Floats) -> Floats:
    """How far a figure is below each cut on average, `(candidates, cuts)`."""
    away = (cuts[None, :] - mean[:, None]) / deviation[:, None]
    density = np.exp(-0.5 * away**2) / np.sqrt(2 * np.pi)
    below: Floats = deviation[:, None] * (away * ndtr(away) + density)
    return below


def _dominated(front: Floats, lowers: list[Floats]) -> npt.NDArray[np.bool_]:
    """Which cells the front dominates, by their lower corners; one axis for each objective."""
    shape = tuple(len(lower) for lower in lowers)
    covered = np.zeros(shape, dtype=np.bool_)
    for point in front:
        first = tuple(
            slice(int(np.searchsorted(lower, value)), None)
            for lower, value in zip(lowers, point, strict=True)
        )
        covered[first] = True
    return covered
