"""Gaussian process predictions for a list of configurations, updated incrementally.

A refit costs O(n² N) for n trials and N configurations; adding one trial costs O(n N). Between
refits the kernel parameters and the list of configurations stay the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from tunefront.evaluators.statistics.arrays import Floats, Indices
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.sampling.surrogate.durations import ExpectedSeconds
from tunefront.search.sampling.surrogate.encoding import Features
from tunefront.search.sampling.surrogate.gaussian_process import GaussianProcess
from tunefront.search.sampling.surrogate.incremental import Prediction
from tunefront.search.sampling.surrogate.targets import TargetScale, learnable, scaled, variance
from tunefront.search.study.trial import Trial

ALWAYS_REFIT_BELOW = 60
"""Below this many measured trials, refit after every trial."""
REFIT_GROWTH = 1.1
"""From there on, refit when the number of measured trials has grown by this factor."""
FAILS = "fails"
"""Name of the failure model's target."""
FAILURE_DEVIATION = 0.4
"""Extra standard deviation (added in quadrature) of the failure model, so that neighbours of the
first failed configurations are not excluded."""
TRUSTED_FROM = 4
"""Failed trials after which the variance of that deviation is halved: a value with which nothing
has run would else be tried again and again, because its metrics stay unknown."""


class Fitted(Protocol):
    """A function that fits a Gaussian process to the values of a named target."""

    def __call__(
        self, name: str, between: Floats, values: Floats, noise: Floats
    ) -> GaussianProcess:
        """Return the fitted process."""
        ...


class _Group:
    """Predictions of several targets from the same trials.

    Args:
        features: Encoded configurations.
        rows: Rows of the trials, in the order in which they were added.
        predictions: One prediction for each target.
    """

    def __init__(
        self, features: Features, rows: Indices, predictions: Sequence[Prediction]
    ) -> None:
        self._features = features
        self._rows = rows
        self._predictions = predictions

    def add(self, new: Indices, values: Sequence[tuple[float, float]], across: Floats) -> None:
        """Add one trial.

        Args:
            new: Row of the trial, shape `(1,)`.
            values: Value and variance for each target.
            across: Distances to the predicted configurations for each choice,
                `(choices, predicted)`.
        """
        near = self._features.distances(self._rows, new)[:, :, 0]
        for prediction, (value, noise) in zip(self._predictions, values, strict=True):
            prediction.add(value, noise, near, across)
        self._rows = np.append(self._rows, new)

    def models(self) -> list[GaussianProcess]:
        """Return the fitted process of each target, without trials added since."""
        return [prediction.model for prediction in self._predictions]

    def posteriors(self) -> list[tuple[Floats, Floats]]:
        """Return mean and standard deviation for each target, `(predicted,)` each."""
        return [prediction.posterior() for prediction in self._predictions]


class Predictions:
    """Predicted objectives, limits, failures and durations of a fixed list of configurations.

    Args:
        features: Encoded configurations.
        predicted: Rows of the configurations to predict, including those of running trials.
        objectives: The objectives.
        limits: The limits that a trial must keep.
        room: Number of trials that can be added before a refit.
        fitted: Function that fits Gaussian processes.
    """

    def __init__(
        self,
        features: Features,
        predicted: Indices,
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        *,
        room: int,
        fitted: Fitted,
    ) -> None:
        self.predicted = predicted
        self.scales: list[TargetScale] = []
        self.past = 0
        self._features = features
        self._objectives = objectives
        self._limits = limits
        self._room = self._left = room
        self._fitted = fitted
        self._index_of = np.full(len(features.codes), -1, dtype=np.intp)
        self._index_of[predicted] = np.arange(len(predicted))
        self._costs: list[Floats] = []
        self._counted: list[bool] = []
        self._failures: _Group | None = None
        self._failed = 0.0
        self._seconds = ExpectedSeconds(len(predicted))

    def fit_targets(
        self,
        rows: Indices,
        own: Sequence[Trial],
        past: Sequence[Trial] = (),
        scales: Sequence[TargetScale] | None = None,
    ) -> None:
        """Fit objectives, limits and durations to measured trials.

        Args:
            rows: Rows of the trials, `own` before `past`.
            own: Measured trials of this search.
            past: Trials of earlier searches; they do not belong to `training_values`.
            scales: Scales of the objectives; None to choose them by the values.
        """
        trials = [*own, *past]
        self.past = len(past)
        known: dict[str, tuple[Floats, Floats]] = {}
        for place, objective in enumerate(self._objectives):
            given = None if scales is None else scales[place]
            values, noise, scale = learnable(trials, objective, given)
            known[objective.metric] = values, noise
            self.scales.append(scale)
        self._costs = list(np.stack([values for values, _ in known.values()], axis=1)[: len(own)])
        self._counted = [trial.status == "ok" for trial in own]
        for limit in self._limits:
            values, noise = np.array([_bounded(trial, limit) for trial in trials]).T
            known[f"limit {limit}"] = values, noise
        across = self._features.distances(rows, self.predicted)
        self._targets = self._group(rows, known, across)
        for trial, apart in zip(trials, across.sum(axis=0), strict=True):
            self._seconds.add(trial, apart)

    def evidence(self) -> float:
        """Return how well the objectives of own trials are predicted by all others.

        It is the sum of their leave-one-out log densities; comparable for equal scales and trials.
        Objectives that are equal in all own trials are left out: their density is a matter of the
        number of trials.
        """
        own = len(self._costs)
        vary = np.ptp(np.stack(self._costs), axis=0) > 0
        models = self._targets.models()[: len(self._objectives)]
        densities = (m.leave_one_out()[:own].sum() for m, v in zip(models, vary, strict=True) if v)
        return float(sum(densities))

    def fit_failures(self, rows: Indices, failed: Floats) -> None:
        """Fit the failure model: least squares on 0 and 1 with a Gaussian process.

        Args:
            rows: Rows of the trials.
            failed: 1 for a failed trial, else 0, `(trials,)`.
        """
        self._failed = float(failed.sum())
        across = self._features.distances(rows, self.predicted)
        self._failures = self._group(rows, {FAILS: (failed, np.zeros(len(failed)))}, across)

    def _group(
        self, rows: Indices, known: Mapping[str, tuple[Floats, Floats]], across: Floats
    ) -> _Group:
        """Return predictions for named targets, each given as values and variances."""
        between = self._features.distances(rows, rows)
        models = [self._fitted(name, between, *values) for name, values in known.items()]
        predictions = [Prediction(model, across, self._room) for model in models]
        return _Group(self._features, rows, predictions)

    def include(self, rows: Indices) -> bool:
        """Return whether all of these rows are predicted."""
        return bool((self._index_of[rows] >= 0).all())

    def indices_of(self, rows: Indices) -> Indices:
        """Return the indices of these rows in `predicted`; -1 for a row that is not predicted."""
        return self._index_of[rows]

    def add(self, row: int, trial: Trial) -> bool:
        """Add an ended trial; return False if a refit is needed instead."""
        if self._left == 0 or (trial.status == "failed" and self._failures is None):
            return False
        self._left -= 1
        new = np.array([row], dtype=np.intp)
        across = self._features.distances(new, self.predicted)[:, 0]
        if self._failures is not None:
            failed = float(trial.status == "failed")
            self._failed += failed
            self._failures.add(new, [(failed, 0.0)], across)
        return trial.status == "failed" or self._add_measured(new, trial, across)

    def _add_measured(self, new: Indices, trial: Trial, across: Floats) -> bool:
        """Add a measured trial; return False if a value cannot be put on its logarithmic scale."""
        values = [
            scaled(trial, objective, scale)
            for objective, scale in zip(self._objectives, self.scales, strict=True)
        ]
        if not all(np.isfinite(value) for value, _ in values):
            return False
        bounded = [_bounded(trial, limit) for limit in self._limits]
        self._targets.add(new, [*values, *bounded], across)
        self._seconds.add(trial, across.sum(axis=0))
        self._costs.append(np.array([value for value, _ in values]))
        self._counted.append(trial.status == "ok")
        return True

    def targets(self) -> tuple[Floats, Floats]:
        """Return means and deviations, to be minimised, `(predicted, objectives)` each."""
        means, deviations = zip(*self._targets.posteriors()[: len(self._objectives)], strict=True)
        return np.stack(means, axis=1), np.stack(deviations, axis=1)

    def noise(self) -> Floats:
        """Return the learnt standard deviation of a measurement, `(objectives,)`."""
        models = self._targets.models()[: len(self._objectives)]
        return np.array([model.scale * np.sqrt(model.own_noise(0.0)) for model in models])

    def training_values(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the training values, `(trials, objectives)`, and the mask of feasible trials."""
        return np.stack(self._costs), np.array(self._counted)

    def feasibility(self) -> Floats:
        """Return the probability that all limits are kept, `(predicted,)`."""
        chance = np.ones(len(self.predicted))
        posteriors = self._targets.posteriors()[len(self._objectives) :]
        for limit, (mean, deviation) in zip(self._limits, posteriors, strict=True):
            chance *= ndtr((limit.sign * limit.bound - mean) / deviation)
        return chance

    def success(self) -> Floats:
        """Return the probability of not failing, `(predicted,)`; ones without a failure model."""
        if self._failures is None:
            return np.ones(len(self.predicted))
        ((mean, deviation),) = self._failures.posteriors()
        extra = FAILURE_DEVIATION / np.sqrt(1.0 + self._failed / TRUSTED_FROM)
        return np.asarray(ndtr((0.5 - mean) / np.hypot(deviation, extra)))

    def seconds(self, built: npt.NDArray[np.bool_]) -> Floats:
        """Return the expected seconds, `(predicted,)`.

        Args:
            built: Whether the configuration's candidate is already built, `(predicted,)`.
        """
        return self._seconds.of(built)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionCache:
    """Cached predictions and the record that they are based on.

    Attributes:
        predictions: The predictions.
        known: Rows of all ended trials considered so far, by number; some may not be in the
            training set.
        count: Number of measured trials at the last refit.
        front: Rows of the front at the last refit if the pool depends on it, else empty.
    """

    predictions: Predictions
    known: dict[int, int]
    count: int
    front: frozenset[int]

    def is_valid_for(
        self,
        ended: Mapping[int, int],
        measured: int,
        front: frozenset[int],
        left: Indices,
        running: Indices,
    ) -> bool:
        """Return whether the predictions can be updated to a record without a refit.

        Args:
            ended: Rows of the record's ended trials, by number.
            measured: Number of measured trials.
            front: Rows of the front if the pool depends on it, else empty.
            left: Rows of the configurations that are left.
            running: Rows of the running trials.
        """
        grown = measured < ALWAYS_REFIT_BELOW or measured > REFIT_GROWTH * self.count
        if grown or front != self.front or not self.known.items() <= ended.items():
            return False
        covered = bool(front) or self.predictions.include(left)
        return covered and self.predictions.include(running)

    def update(self, trials: Sequence[Trial], rows: Mapping[int, int]) -> bool:
        """Add the new ones among ended trials; return False if a refit is needed.

        Args:
            trials: All ended trials.
            rows: Their rows, by number.
        """
        for trial in trials:
            if trial.number not in self.known:
                row = rows[trial.number]
                if not self.predictions.add(row, trial):
                    return False
                self.known[trial.number] = row
        return True


def _bounded(trial: Trial, limit: Limit) -> tuple[float, float]:
    """Return the limited metric's value, signed so that lower is better, and its variance."""
    return limit.sign * trial.value(limit.metric), variance(trial, limit)
