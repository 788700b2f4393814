"""Incremental Gaussian process predictions: a new observation adds one row to the Cholesky factor.

With n observations a refit costs O(n²) for each configuration, an update O(n) (Rasmussen and
Williams 2006, appendix A.3). Updates keep the kernel parameters and the standardisation.
"""

import math

import numpy as np
import scipy.linalg

from tunefront.evaluators.statistics.arrays import Floats

from .gaussian_process import JITTER, LEAST_VARIANCE, GaussianProcess


class Prediction:
    """Predictions of a Gaussian process for a fixed list of configurations.

    Args:
        process: The fitted Gaussian process.
        across: Distances from training points to the configurations for each choice,
            `(choices, seen, predicted)`.
        room: Number of observations that can be added.
    """

    def __init__(self, process: GaussianProcess, across: Floats, room: int) -> None:
        cross = process.kernel(across)
        self._seen, predicted = cross.shape
        self._process = process
        self._factor = np.zeros((self._seen + room, self._seen + room))
        self._factor[: self._seen, : self._seen] = process.factor
        self._solved = np.empty((self._seen + room, predicted))
        self._solved[: self._seen] = scipy.linalg.solve_triangular(
            process.factor, cross, lower=True, check_finite=False
        )
        self._targets = np.empty(self._seen + room)
        self._targets[: self._seen] = process.factor.T @ process.weights
        solved = self._solved[: self._seen]
        self._mean = solved.T @ self._targets[: self._seen]
        self._variance = process.signal - np.einsum("ij,ij->j", solved, solved)

    def add(self, value: float, noise: float, near: Floats, across: Floats) -> None:
        """Add one observation.

        Args:
            value: The observed value.
            noise: Its measurement variance.
            near: Distances to the earlier observations for each choice, `(choices, seen)`.
            across: Distances to the configurations for each choice, `(choices, predicted)`.

        Raises:
            IndexError: If `room` observations were already added.
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

    def posterior(self) -> tuple[Floats, Floats]:
        """Return the posterior mean and standard deviation, `(predicted,)` each."""
        process = self._process
        return (
            process.mean + process.scale * self._mean,
            process.scale * np.sqrt(np.maximum(self._variance, LEAST_VARIANCE)),
        )
