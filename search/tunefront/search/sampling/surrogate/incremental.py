"""A process' figures of candidates, kept up with what is seen: one more figure is one more row.

Beginning anew takes n² steps a candidate after n figures, one figure more takes n (Rasmussen and
Williams 2006, appendix A.3). What the process has learnt, and how figures are standardised, stays.
"""

import math

import numpy as np
import scipy.linalg

from tunefront.evaluators.statistics.arrays import Floats

from .gaussian_process import JITTER, LEAST_VARIANCE, Process


class Prediction:
    """What a process expects of candidates.

    Args:
        process: A fitted one.
        across: Distances by choice from what was seen to the candidates, `(choices, seen, asked)`.
        room: Figures that may be added.
    """

    def __init__(self, process: Process, across: Floats, room: int) -> None:
        cross = process.kernel(across)
        self._seen, asked = cross.shape
        self._process = process
        self._factor = np.zeros((self._seen + room, self._seen + room))
        self._factor[: self._seen, : self._seen] = process.factor
        self._solved = np.empty((self._seen + room, asked))
        self._solved[: self._seen] = scipy.linalg.solve_triangular(
            process.factor, cross, lower=True, check_finite=False
        )
        self._targets = np.empty(self._seen + room)
        self._targets[: self._seen] = process.factor.T @ process.weights
        solved = self._solved[: self._seen]
        self._mean = solved.T @ self._targets[: self._seen]
        self._variance = process.signal - np.einsum("ij,ij->j", solved, solved)

    def add(self, value: float, noise: float, near: Floats, across: Floats) -> None:
        """One figure more.

        Args:
            value: The figure.
            noise: Its variance by itself.
            near: Distances by choice to what was seen before, `(choices, seen)`.
            across: Distances by choice to the candidates, `(choices, asked)`.

        Raises:
            IndexError: If there is no room left.
        """
        process, seen = self._process, self._seen
        row = scipy.linalg.solve_triangular(
            self._factor[:seen, :seen], process.kernel(near), lower=True, check_finite=False
        )
        own = process.signal + process.own_noise(noise) - row @ row
        pivot = math.sqrt(max(float(own), JITTER))
        solved = (process.kernel(across) - row @ self._solved[:seen]) / pivot
        target = (process.standard(value) - row @ self._targets[:seen]) / pivot
        self._factor[seen, :seen], self._factor[seen, seen] = row, pivot
        self._solved[seen], self._targets[seen] = solved, target
        self._mean += target * solved
        self._variance -= solved**2
        self._seen += 1

    def figures(self) -> tuple[Floats, Floats]:
        """Mean and deviation of every candidate, `(asked,)` each."""
        process = self._process
        return (
            process.mean + process.scale * self._mean,
            process.scale * np.sqrt(np.maximum(self._variance, LEAST_VARIANCE)),
        )
