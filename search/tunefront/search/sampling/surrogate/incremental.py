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
        model: The fitted Gaussian process.
        across: Distances from training points to the configurations for each choice,
            `(choices, observed, predicted)`.
        room: Number of observations that can be added.
    """

    def __init__(self, model: GaussianProcess, across: Floats, room: int) -> None:
        cross = model.kernel(across)
        self._observed, predicted = cross.shape
        self.model = model
        self._factor = np.zeros((self._observed + room, self._observed + room))
        self._factor[: self._observed, : self._observed] = model.factor
        self._solved = np.empty((self._observed + room, predicted))
        self._solved[: self._observed] = scipy.linalg.solve_triangular(
            model.factor, cross, lower=True, check_finite=False
        )
        self._targets = np.empty(self._observed + room)
        self._targets[: self._observed] = model.factor.T @ model.weights
        solved = self._solved[: self._observed]
        self._mean = solved.T @ self._targets[: self._observed]
        self._variance = model.signal - np.einsum("ij,ij->j", solved, solved)

    def add(self, value: float, noise: float, near: Floats, across: Floats) -> None:
        """Add one observation.

        Args:
            value: The observed value.
            noise: Its measurement variance.
            near: Distances to the earlier observations for each choice, `(choices, observed)`.
            across: Distances to the configurations for each choice, `(choices, predicted)`.

        Raises:
            IndexError: If `room` observations were already added.
        """
        model, observed = self.model, self._observed
        row = scipy.linalg.solve_triangular(
            self._factor[:observed, :observed], model.kernel(near), lower=True, check_finite=False
        )
        own = model.signal + model.own_noise(noise) - row @ row
        pivot = math.sqrt(max(float(own), JITTER))
        solved = (model.kernel(across) - row @ self._solved[:observed]) / pivot
        target = (model.standard(value) - row @ self._targets[:observed]) / pivot
        self._factor[observed, :observed], self._factor[observed, observed] = row, pivot
        self._solved[observed], self._targets[observed] = solved, target
        self._mean += target * solved
        self._variance -= solved**2
        self._observed += 1

    def posterior(self) -> tuple[Floats, Floats]:
        """Return the posterior mean and standard deviation, `(predicted,)` each."""
        model = self.model
        return (
            model.mean + model.scale * self._mean,
            model.scale * np.sqrt(np.maximum(self._variance, LEAST_VARIANCE)),
        )
