"""Gaussian process regression of one metric over configurations.

The kernel has one weight for each choice, so fitting the weights learns which choices matter for
the metric (Rasmussen and Williams 2006, chapters 2 and 5). It is the sum of two: a sum over the
choices, under which the effect of each is the same whatever the others are, and a product of
exponentials, under which choices interact (additive Gaussian processes: Duvenaud, Nickisch and
Rasmussen 2011). Effects of single choices are learnt from few trials, and most of what a choice
does to the logarithm of a speed is such an effect.
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
JITTER = 1e-8
LEAST_VARIANCE = 1e-10
"""Lower bound of a predicted variance, in standardised units."""
ITERATIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPrior:
    """Prior mean and standard deviation of the logarithms of the kernel's variances.

    Attributes:
        effects: Of the sum of the choices' own effects, in standardised units.
        interactions: Of what choices do together.
    """

    effects: tuple[float, float]
    interactions: tuple[float, float]


OF_METRICS = KernelPrior(effects=(0.0, 1.0), interactions=(-1.5, 1.0))
OF_FAILURES = KernelPrior(effects=(-4.0, 1.0), interactions=(0.0, 1.0))
"""Failures follow from values that do not go together more often than from a single value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcess:
    """A fitted Gaussian process.

    Attributes:
        parameters: Logarithms of the choices' weights, of the variances of effects and
            interactions, and of the noise variance.
        mean: Mean of the training values.
        scale: Standard deviation of the training values.
        factor: Lower Cholesky factor of the training covariance.
        weights: Inverse training covariance times the standardised training values.
        searches: Whether the last distance is that between searches (history/observations.py).
    """

    parameters: Floats
    mean: float
    scale: float
    factor: Floats
    weights: Floats
    searches: bool = False

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

    def leave_one_out(self) -> Floats:
        """Return the logarithm of each training value's density under all others, `(observed,)`.

        From one inverse (Rasmussen and Williams 2006, section 5.4.2); the kernel's parameters are
        those learnt from all values.
        """
        inverse = scipy.linalg.cho_solve(
            (self.factor, True), np.eye(len(self.weights)), check_finite=False
        )
        precision = np.diag(inverse)
        off = self.weights**2 / precision
        density: Floats = 0.5 * (np.log(precision / (2 * np.pi)) - off) - np.log(self.scale)
        return density

    @property
    def signal(self) -> float:
        """The prior variance of standardised values."""
        return float(np.exp(self.parameters[-3:-1]).sum())

    def kernel(self, distances: Floats) -> Floats:
        """Return the covariance of standardised values, given `(choices, ...)` distances."""
        return _Covariance.of(self.parameters, distances, self.searches).whole

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
    searches: bool = False,
    prior: KernelPrior = OF_METRICS,
) -> GaussianProcess:
    """Fit a Gaussian process with maximum a posteriori parameters (L-BFGS-B).

    Args:
        distances: Distances between training points for each choice,
            `(choices, observed, observed)`.
        values: Training values, `(observed,)`.
        noise: Measurement variance of each value, `(observed,)`.
        start: Initial parameters; None starts at the prior means.
        learn: Whether to optimise the parameters; if False, `start` is used unchanged.
        searches: Whether the last distance is that between searches.
        prior: Prior of the kernel's variances.
    """
    mean = float(values.mean())
    scale = float(values.std()) or 1.0
    standard = (values - mean) / scale
    own = noise / scale**2
    choices = len(distances)
    parameters = _prior(choices, prior)[0] if start is None else start
    if learn and len(values) > 2:
        bounds = [(-6.0, 4.0)] * choices + [(-14.0, 3.0), (-14.0, 3.0), (-14.0, 0.0)]
        found = scipy.optimize.minimize(
            _loss,
            parameters,
            args=(distances, standard, own, searches, prior),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": ITERATIONS},
        )
        parameters = np.asarray(found.x, dtype=np.float64)
    covariance = _Covariance.of(parameters, distances, searches).whole
    covariance[np.diag_indices_from(covariance)] += np.exp(parameters[-1]) + own + JITTER
    factor = scipy.linalg.cholesky(covariance, lower=True, check_finite=False)
    weights = scipy.linalg.cho_solve((factor, True), standard, check_finite=False)
    return GaussianProcess(
        parameters=parameters,
        mean=mean,
        scale=scale,
        factor=factor,
        weights=weights,
        searches=searches,
    )


def _prior(choices: int, prior: KernelPrior) -> Floats:
    """Return prior means and standard deviations of the parameters, `(2, choices + 3)`."""
    of_weights = [WEIGHT_PRIOR] * choices
    return np.array([*of_weights, prior.effects, prior.interactions, NOISE_PRIOR]).T


@dataclass(frozen=True, slots=True, kw_only=True)
class _Covariance:
    """Covariances of standardised values, `(...)` each.

    Attributes:
        effects: Those of the choices' own effects, without `shared`.
        interactions: Those of what choices do together, without `shared`.
        shared: The share of both that two searches have in common; 1 within a search.
    """

    effects: Floats
    interactions: Floats
    shared: Floats | float

    @classmethod
    def of(cls, parameters: Floats, distances: Floats, searches: bool) -> "_Covariance":
        """Return the covariances for parameters and `(choices, ...)` distances."""
        weights, shared = np.exp(parameters[:-3]), 1.0
        if searches:
            shared = np.exp(-weights[-1] * distances[-1])
            weights, distances = weights[:-1], distances[:-1]
        apart = np.tensordot(weights, distances, axes=1)
        return cls(
            effects=np.exp(parameters[-3]) * (1.0 - apart / weights.sum()),
            interactions=np.exp(parameters[-2]) * np.exp(-apart),
            shared=shared,
        )

    @property
    def whole(self) -> Floats:
        """Their sum."""
        return (self.effects + self.interactions) * self.shared


def _loss(
    parameters: Floats,
    distances: Floats,
    values: Floats,
    own: Floats,
    searches: bool = False,
    prior: KernelPrior = OF_METRICS,
) -> tuple[float, Any]:
    """Return the negative log posterior of the parameters (up to a constant) and its gradient."""
    parts, noise = _Covariance.of(parameters, distances, searches), np.exp(parameters[-1])
    covariance = parts.whole
    outer, solved, determinant = _inverted(covariance, noise + own + JITTER, values)
    gradient = np.empty_like(parameters)
    weights = np.exp(parameters[:-3])
    if searches:
        gradient[-4] = -0.5 * weights[-1] * (distances[-1] * outer * covariance).sum()
        weights, distances = weights[:-1], distances[:-1]
    inside = outer * parts.shared
    both = (inside * parts.effects).sum()
    whole = np.exp(parameters[-3]) * (inside.sum() - np.tensordot(distances, inside, axes=2))
    gradient[: len(weights)] = 0.5 * weights / weights.sum() * (whole - both) - (
        0.5 * weights * np.tensordot(distances, inside * parts.interactions, axes=2)
    )
    gradient[-3] = 0.5 * both
    gradient[-2] = 0.5 * (inside * parts.interactions).sum()
    gradient[-1] = 0.5 * noise * np.trace(outer)
    means, spreads = _prior(len(parameters) - 3, prior)
    off = (parameters - means) / spreads
    loss = 0.5 * values @ solved + determinant
    return float(loss + 0.5 * off @ off), gradient + off / spreads


def _inverted(covariance: Floats, diagonal: Floats, values: Floats) -> tuple[Floats, Floats, float]:
    """Return K^-1 - K^-1 y y' K^-1, K^-1 y and half the logarithm of K's determinant.

    Args:
        covariance: Covariance of the values without noise.
        diagonal: What is added to its diagonal for K.
        values: The values y.
    """
    noisy = covariance.copy()
    noisy[np.diag_indices_from(noisy)] += diagonal
    factor = scipy.linalg.cholesky(noisy, lower=True, check_finite=False)
    solved = scipy.linalg.cho_solve((factor, True), values, check_finite=False)
    inverse = scipy.linalg.cho_solve((factor, True), np.eye(len(values)), check_finite=False)
    return inverse - np.outer(solved, solved), solved, float(np.log(np.diag(factor)).sum())
