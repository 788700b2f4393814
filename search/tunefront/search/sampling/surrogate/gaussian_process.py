"""A Gaussian process over configurations: one figure, predicted with its uncertainty.

The kernel is a product of exponentials, one for each choice, so that it learns which choices matter
for the figure (Rasmussen and Williams 2006, chapters 2 and 5).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize

from tunefront.evaluators.statistics.arrays import Floats

WEIGHT_PRIOR = (0.0, 1.2)
"""Mean and deviation of a weight's logarithm: how much a choice matters before anything is seen."""
NOISE_PRIOR = (-6.0, 1.5)
SIGNAL_PRIOR = (0.0, 1.0)
JITTER = 1e-8
LEAST_VARIANCE = 1e-10
"""Of a standardised figure: so little is never known for sure."""
ITERATIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A fitted process.

    Attributes:
        parameters: Logarithms of the choices' weights, of the signal's and the noise's variance.
        mean: Of the figures.
        scale: Deviation of the figures.
        factor: Cholesky factor of the covariance of what was seen, lower.
        weights: The covariance's inverse times the standardised figures.
    """

    parameters: Floats
    mean: float
    scale: float
    factor: Floats
    weights: Floats

    def predict(self, distances: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation of figures that were not seen.

        Args:
            distances: By choice, `(choices, seen, asked)`.
        """
        cross = self.kernel(distances)
        mean = cross.T @ self.weights
        solved = scipy.linalg.solve_triangular(self.factor, cross, lower=True, check_finite=False)
        variance = self.signal - np.einsum("ij,ij->j", solved, solved)
        return (
            self.mean + self.scale * mean,
            self.scale * np.sqrt(np.maximum(variance, LEAST_VARIANCE)),
        )

    @property
    def signal(self) -> float:
        """The standardised figures' variance where nothing is known."""
        return float(np.exp(self.parameters[-2]))

    def kernel(self, distances: Floats) -> Floats:
        """The covariance of standardised figures, from distances by choice, `(choices, ...)`."""
        return _kernel(self.parameters, distances)

    def own_noise(self, noise: float) -> float:
        """What is added to a standardised figure's variance, given that of the figure itself."""
        return float(np.exp(self.parameters[-1])) + noise / self.scale**2 + JITTER

    def standard(self, value: float) -> float:
        """A figure standardised as those that the process was fitted to."""
        return (value - self.mean) / self.scale


def fit(
    distances: Floats,
    values: Floats,
    noise: Floats,
    start: Floats | None = None,
    learn: bool = True,
) -> Process:
    """The process that is most probable after what was seen.

    Args:
        distances: By choice, `(choices, seen, seen)`.
        values: The figures, `(seen,)`.
        noise: Variance of every figure by itself, `(seen,)`.
        start: Parameters to begin with.
        learn: Whether to learn parameters, or to take `start` as it is.
    """
    mean = float(values.mean())
    scale = float(values.std()) or 1.0
    standard = (values - mean) / scale
    own = noise / scale**2
    choices = len(distances)
    if start is None:
        start = np.array([*[WEIGHT_PRIOR[0]] * choices, SIGNAL_PRIOR[0], NOISE_PRIOR[0]])
    parameters = start
    if learn and len(values) > 2:
        bounds = [(-6.0, 4.0)] * choices + [(-3.0, 3.0), (-14.0, 0.0)]
        found = scipy.optimize.minimize(
            _loss,
            start,
            args=(distances, standard, own),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": ITERATIONS},
        )
        parameters = np.asarray(found.x, dtype=np.float64)
    covariance = _kernel(parameters, distances)
    covariance[np.diag_indices_from(covariance)] += np.exp(parameters[-1]) + own + JITTER
    factor = scipy.linalg.cholesky(covariance, lower=True, check_finite=False)
    weights = scipy.linalg.cho_solve((factor, True), standard, check_finite=False)
    return Process(parameters=parameters, mean=mean, scale=scale, factor=factor, weights=weights)


def _kernel(parameters: Floats, distances: Floats) -> Floats:
    signal = np.exp(parameters[-2])
    kernel: Floats = signal * np.exp(-np.tensordot(np.exp(parameters[:-2]), distances, axes=1))
    return kernel


def _loss(parameters: Floats, distances: Floats, values: Floats, own: Floats) -> tuple[float, Any]:
    """Negative log posterior of the parameters and its gradient."""
    kernel = _kernel(parameters, distances)
    noise = np.exp(parameters[-1])
    covariance = kernel.copy()
    covariance[np.diag_indices_from(covariance)] += noise + own + JITTER
    factor = scipy.linalg.cholesky(covariance, lower=True, check_finite=False)
    weights = scipy.linalg.cho_solve((factor, True), values, check_finite=False)
    inverse = scipy.linalg.cho_solve((factor, True), np.eye(len(values)), check_finite=False)
    outer = inverse - np.outer(weights, weights)
    shared = outer * kernel
    gradient = np.empty_like(parameters)
    gradient[:-2] = -0.5 * np.exp(parameters[:-2]) * np.tensordot(distances, shared, axes=2)
    gradient[-2] = 0.5 * shared.sum()
    gradient[-1] = 0.5 * noise * np.trace(outer)
    loss = 0.5 * values @ weights + np.log(np.diag(factor)).sum()
    means = np.array([*[WEIGHT_PRIOR[0]] * (len(parameters) - 2), SIGNAL_PRIOR[0], NOISE_PRIOR[0]])
    spreads = np.array(
        [*[WEIGHT_PRIOR[1]] * (len(parameters) - 2), SIGNAL_PRIOR[1], NOISE_PRIOR[1]]
    )
    off = (parameters - means) / spreads
    return float(loss + 0.5 * off @ off), gradient + off / spreads
