"""Approximate expected hypervolume improvement, for fronts too large for an exact computation.

A hypervolume is the mean, over directions from the reference point, of the distance to the front's
attainment surface to the power of the number of objectives, times a constant (Deng and Zhang 2019,
"Approximating hypervolume and hypervolume contributions using polar coordinate"). Each sample of a
quasi-random sequence is a direction together with standard normal deviates, from which a value of
every candidate is drawn. All candidates share the samples, so that their errors are alike and
hardly change their order. All objectives are minimised.
"""

from math import gamma, pi

import numpy as np
from scipy.special import ndtri

from tunefront.evaluators.statistics.arrays import Floats

_CHUNK = 200_000
"""Array elements processed at once; the arrays then stay in the processor's cache."""


def sampled_improvement(
    front: Floats, reference: Floats, mean: Floats, deviation: Floats, samples: int
) -> tuple[Floats, float]:
    """Return the expected hypervolume improvement, `(candidates,)`, and the front's hypervolume.

    Args:
        front: Nondominated points below the reference, `(points, objectives)`, at least one.
        reference: Reference point of the hypervolume, `(objectives,)`.
        mean: Predicted means, `(candidates, objectives)`.
        deviation: Predicted standard deviations, `(candidates, objectives)`, positive.
        samples: Number of samples, a power of two.
    """
    from scipy.stats import qmc  # takes a second to import

    objectives = len(reference)
    span = reference - front.min(axis=0)
    drawn = ndtri(qmc.Sobol(2 * objectives, seed=0).random(samples))
    directions = np.abs(drawn[:, :objectives])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    noise = drawn[:, objectives:]
    scale = 2 * pi ** (objectives / 2) / gamma(objectives / 2) / (objectives * 2**objectives)
    scale *= float(span.prod())
    attained = _power(_farthest((reference - front) / span, directions), objectives)
    middle, spread = (reference - mean) / span, deviation / span
    gains: list[Floats] = []
    some = max(1, _CHUNK // samples)
    for begin in range(0, len(mean), some):
        part = slice(begin, begin + some)
        reached = np.full((len(middle[part]), samples), np.inf)
        for objective in range(objectives):
            value = (
                middle[part, objective, None]
                - spread[part, objective, None] * noise[None, :, objective]
            )
            np.minimum(reached, value / directions[None, :, objective], out=reached)
        np.maximum(reached, 0.0, out=reached)
        more = _power(reached, objectives) - attained[None]
        gains.append(np.maximum(more, 0.0).mean(axis=1))
    return scale * np.concatenate(gains), scale * float(attained.mean())


def _farthest(points: Floats, directions: Floats) -> Floats:
    """Return the distance from the reference to the attainment surface, `(samples,)`.

    Args:
        points: Distances of the front's points from the reference, `(points, objectives)`.
        directions: Unit vectors, `(samples, objectives)`.
    """
    some = max(1, _CHUNK // points.size)
    parts = [
        (points[None] / directions[begin : begin + some, None]).min(axis=2).max(axis=1)
        for begin in range(0, len(directions), some)
    ]
    return np.concatenate(parts)


def _power(values: Floats, exponent: int) -> Floats:
    """Return a power by repeated multiplication, which takes a tenth of the time of `**`."""
    result = values.copy()
    for _ in range(exponent - 1):
        result *= values
    return result
