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

ANEW = 60
"""Below this many measured trials, refit after every trial."""
GROWN = 1.1
"""From there on, refit when the number of measured trials has grown by this factor."""
OUTCOME_DOUBT = 0.4
"""Extra standard deviation (added in quadrature) of the failure model, so that neighbours of a
failed configuration are not excluded."""


class Fitted(Protocol):
    """A function that fits a Gaussian process to the values of a named target."""

    def __call__(
        self, name: str, between: Floats, figures: Floats, noise: Floats
    ) -> GaussianProcess:
        """Return the fitted process."""
        ...


class _Group:
    """Predictions of several targets from the same trials.

    Args:
        features: Encoded configurations.
        seen: Rows of the trials, in the order in which they were added.
        predictions: One prediction for each target.
    """

    def __init__(
        self, features: Features, seen: Indices, predictions: Sequence[Prediction]
    ) -> None:
        self._features = features
        self._seen = seen
        self._predictions = predictions

    def add(self, new: Indices, figures: Sequence[tuple[float, float]], across: Floats) -> None:
        """Add one trial.

        Args:
            new: Row of the trial, shape `(1,)`.
            figures: Value and variance for each target.
            across: Distances to the predicted configurations for each choice, `(choices, asked)`.
        """
        near = self._features.distances(self._seen, new)[:, :, 0]
        for prediction, (value, noise) in zip(self._predictions, figures, strict=True):
            prediction.add(value, noise, near, across)
        self._seen = np.append(self._seen, new)

    def figures(self) -> list[tuple[Floats, Floats]]:
        """Return mean and standard deviation for each target, `(asked,)` each."""
        return [prediction.figures() for prediction in self._predictions]


class Predictions:
    """Predicted objectives, limits, failures and durations of a fixed list of configurations.

    Args:
        features: Encoded configurations.
        asked: Rows of the configurations to predict, including those of running trials.
        objectives: The objectives.
        limits: The limits that a trial must keep.
        room: Number of trials that can be added before a refit.
        fitted: Function that fits Gaussian processes.
    """

    def __init__(
        self,
        features: Features,
        asked: Indices,
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        *,
        room: int,
        fitted: Fitted,
    ) -> None:
        self.asked = asked
        self.scales: list[TargetScale] = []
        self._features = features
        self._objectives = objectives
        self._limits = limits
        self._room = self._left = room
        self._fitted = fitted
        self._place = np.full(len(features.places), -1, dtype=np.intp)
        self._place[asked] = np.arange(len(asked))
        self._costs: list[Floats] = []
        self._counted: list[bool] = []
        self._fails: _Group | None = None
        self._seconds = ExpectedSeconds(len(asked))

    def learn_figures(self, rows: Indices, trials: Sequence[Trial]) -> None:
        """Fit objectives, limits and durations to measured trials, whose rows are `rows`."""
        known: dict[str, tuple[Floats, Floats]] = {}
        for objective in self._objectives:
            values, noise, scale = learnable(trials, objective)
            known[objective.metric] = values, noise
            self.scales.append(scale)
        self._costs = list(np.stack([values for values, _ in known.values()], axis=1))
        self._counted = [trial.status == "ok" for trial in trials]
        for limit in self._limits:
            values, noise = np.array([_bounded(trial, limit) for trial in trials]).T
            known[f"limit {limit}"] = values, noise
        across = self._features.distances(rows, self.asked)
        self._figures = self._group(rows, known, across)
        for trial, apart in zip(trials, across.sum(axis=0), strict=True):
            self._seconds.add(trial, apart)

    def learn_failures(self, rows: Indices, failed: Floats) -> None:
        """Fit the failure model: least squares on 0 and 1 with a Gaussian process.

        Args:
            rows: Rows of the trials.
            failed: 1 for a failed trial, else 0, `(trials,)`.
        """
        across = self._features.distances(rows, self.asked)
        self._fails = self._group(rows, {"fails": (failed, np.zeros(len(failed)))}, across)

    def _group(
        self, rows: Indices, known: Mapping[str, tuple[Floats, Floats]], across: Floats
    ) -> _Group:
        """Return predictions for named targets, each given as values and variances."""
        between = self._features.distances(rows, rows)
        processes = [self._fitted(name, between, *figures) for name, figures in known.items()]
        predictions = [Prediction(process, across, self._room) for process in processes]
        return _Group(self._features, rows, predictions)

    def holds(self, rows: Indices) -> bool:
        """Return whether all of these rows are predicted."""
        return bool((self._place[rows] >= 0).all())

    def places(self, rows: Indices) -> Indices:
        """Return the indices of these rows in `asked`; -1 for a row that is not predicted."""
        return self._place[rows]

    def take(self, row: int, trial: Trial) -> bool:
        """Add an ended trial; return False if a refit is needed instead."""
        if self._left == 0 or (trial.status == "failed" and self._fails is None):
            return False
        self._left -= 1
        new = np.array([row], dtype=np.intp)
        across = self._features.distances(new, self.asked)[:, 0]
        if self._fails is not None:
            self._fails.add(new, [(float(trial.status == "failed"), 0.0)], across)
        return trial.status == "failed" or self._take_figures(new, trial, across)

    def _take_figures(self, new: Indices, trial: Trial, across: Floats) -> bool:
        """Add a measured trial; return False if a value cannot be put on its logarithmic scale."""
        found = [
            scaled(trial, objective, scale)
            for objective, scale in zip(self._objectives, self.scales, strict=True)
        ]
        if not all(np.isfinite(value) for value, _ in found):
            return False
        bounded = [_bounded(trial, limit) for limit in self._limits]
        self._figures.add(new, [*found, *bounded], across)
        self._seconds.add(trial, across.sum(axis=0))
        self._costs.append(np.array([value for value, _ in found]))
        self._counted.append(trial.status == "ok")
        return True

    def figures(self) -> tuple[Floats, Floats]:
        """Return predicted means and deviations, to be minimised, `(asked, objectives)` each."""
        means, deviations = zip(*self._figures.figures()[: len(self._objectives)], strict=True)
        return np.stack(means, axis=1), np.stack(deviations, axis=1)

    def seen(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the training values, `(trials, objectives)`, and the mask of feasible trials."""
        return np.stack(self._costs), np.array(self._counted)

    def keeping(self) -> Floats:
        """Return the probability that all limits are kept, `(asked,)`."""
        chance = np.ones(len(self.asked))
        found = self._figures.figures()[len(self._objectives) :]
        for limit, (mean, deviation) in zip(self._limits, found, strict=True):
            chance *= ndtr((limit.sign * limit.bound - mean) / deviation)
        return chance

    def ending_well(self) -> Floats:
        """Return the probability of not failing, `(asked,)`; ones without a failure model."""
        if self._fails is None:
            return np.ones(len(self.asked))
        ((mean, deviation),) = self._fails.figures()
        return np.asarray(ndtr((0.5 - mean) / np.hypot(deviation, OUTCOME_DOUBT)))

    def seconds(self, built: npt.NDArray[np.bool_]) -> Floats:
        """Return the expected seconds, `(asked,)`.

        Args:
            built: Whether the configuration's candidate is already built, `(asked,)`.
        """
        return self._seconds.of(built)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionCache:
    """Cached predictions and the record that they are based on.

    Attributes:
        expected: The predictions.
        known: Rows of all ended trials considered so far, by number; some may not be in the
            training set.
        count: Number of measured trials at the last refit.
        front: Rows of the front at the last refit if the pool depends on it, else empty.
    """

    expected: Predictions
    known: dict[int, int]
    count: int
    front: frozenset[int]

    def suits(
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
        grown = measured < ANEW or measured > GROWN * self.count
        if grown or front != self.front or not self.known.items() <= ended.items():
            return False
        weighed = bool(front) or self.expected.holds(left)
        return weighed and self.expected.holds(running)

    def take(self, trials: Sequence[Trial], rows: Mapping[int, int]) -> bool:
        """Add the new ones among ended trials; return False if a refit is needed.

        Args:
            trials: All ended trials.
            rows: Their rows, by number.
        """
        for trial in trials:
            if trial.number not in self.known:
                row = rows[trial.number]
                if not self.expected.take(row, trial):
                    return False
                self.known[trial.number] = row
        return True


def _bounded(trial: Trial, limit: Limit) -> tuple[float, float]:
    """Return the limited metric's value, signed so that lower is better, and its variance."""
    return limit.sign * trial.value(limit.metric), variance(trial, limit)
