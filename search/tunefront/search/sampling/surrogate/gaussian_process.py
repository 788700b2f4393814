"""Gaussian process regression of one metric over configurations.

The kernel is a product of exponentials with one weight for each choice, so fitting the weights
learns which choices matter for the metric (Rasmussen and Williams 2006, chapters 2 and 5).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize

from tunefront.evaluators.statistics.arrays import Floats

WEIGHT_PRIOR = (0.0, 1.2)
"""Prior mean and standard deviation of the logarithm of a choice's kernel weight."""
NOISE_PRIOR = (-6.0, 1.5)
SIGNAL_PRIOR = (0.0, 1.0)
JITTER = 1e-8
LEAST_VARIANCE = 1e-10
"""Lower bound of a predicted variance, in standardised units."""
ITERATIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcess:
    """A fitted Gaussian process.

    Attributes:
        parameters: Logarithms of the choices' weights, the signal variance and the noise variance.
        mean: Mean of the training values.
        scale: Standard deviation of the training values.
        factor: Lower Cholesky factor of the training covariance.
        weights: Inverse training covariance times the standardised training values.
    """

    parameters: Floats
    mean: float
    scale: float
    factor: Floats
    weights: Floats

    def predict(self, distances: Floats) -> tuple[Floats, Floats]:
        """Return the posterior mean and standard deviation, `(predicted,)` each.

        Args:
            distances: Distances from training to test points for each choice,
                `(choices, observed, predicted)`.
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
        """The prior variance of standardised values."""
        return float(np.exp(self.parameters[-2]))

    def kernel(self, distances: Floats) -> Floats:
        """Return the covariance of standardised values, given `(choices, ...)` distances."""
        return _kernel(self.parameters, distances)

    def own_noise(self, noise: float) -> float:
        """Return the noise variance in standardised units, given a value's own variance."""
        return float(np.exp(self.parameters[-1])) + noise / self.scale**2 + JITTER

    def standard(self, value: float) -> float:
        """Return a value standardised with the training mean and deviation."""
        return (value - self.mean) / self.scale


def fit(
    distances: Floats,
    values: Floats,
    noise: Floats,
    start: Floats | None = None,
    learn: bool = True,
) -> GaussianProcess:
    """Fit a Gaussian process with maximum a posteriori parameters (L-BFGS-B).

    Args:
        distances: Distances between training points for each choice,
            `(choices, observed, observed)`.
        values: Training values, `(observed,)`.
        noise: Measurement variance of each value, `(observed,)`.
        start: Initial parameters; None starts at the prior means.
        learn: Whether to optimise the parameters; if False, `start` is used unchanged.
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
    return GaussianProcess(
        parameters=parameters, mean=mean, scale=scale, factor=factor, weights=weights
    )


def _kernel(parameters: Floats, distances: Floats) -> Floats:
    signal = np.exp(parameters[-2])
    kernel: Floats = signal * np.exp(-np.tensordot(np.exp(parameters[:-2]), distances, axes=1))
    return kernel


def _loss(parameters: Floats, distances: Floats, values: Floats, own: Floats) -> tuple[float, Any]:
    """Return the negative log posterior of the parameters (up to a constant) and its gradient."""
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
