"""What is expected of candidates, kept up with the trials that end.

Begun anew, n trials and N candidates take n² N steps; one trial more takes n N. What was learnt and
which candidates are weighed stays in between.
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
from tunefront.search.sampling.surrogate.gaussian_process import Process
from tunefront.search.sampling.surrogate.incremental import Prediction
from tunefront.search.sampling.surrogate.targets import TargetScale, learnable, scaled, variance
from tunefront.search.study.trial import Trial

ANEW = 60
"""Measured trials up to which all begins anew with each."""
GROWN = 1.1
"""After which growth of the record, beyond that, it does."""
OUTCOME_DOUBT = 0.4
"""What is added to the deviation of whether something runs: next to what fails, something may."""


class Fitted(Protocol):
    """Fits a process to figures, by its name."""

    def __call__(self, name: str, between: Floats, figures: Floats, noise: Floats) -> Process:
        """The process."""
        ...


class _Group:
    """Predictions from the same trials, in the order in which they were learnt.

    Args:
        features: Configurations as numbers.
        seen: The rows of the trials.
        predictions: One of each figure.
    """

    def __init__(
        self, features: Features, seen: Indices, predictions: Sequence[Prediction]
    ) -> None:
        self._features = features
        self._seen = seen
        self._predictions = predictions

    def add(self, new: Indices, figures: Sequence[tuple[float, float]], across: Floats) -> None:
        """One trial more: its row, its figures and their variances, its distances to all asked."""
        near = self._features.distances(self._seen, new)[:, :, 0]
        for prediction, (value, noise) in zip(self._predictions, figures, strict=True):
            prediction.add(value, noise, near, across)
        self._seen = np.append(self._seen, new)

    def figures(self) -> list[tuple[Floats, Floats]]:
        """Mean and deviation of each figure."""
        return [prediction.figures() for prediction in self._predictions]


class Expectations:
    """Figures, limits, failures and seconds of a fixed list of candidates.

    Args:
        features: Configurations as numbers.
        asked: The rows of the candidates, of what runs, too.
        objectives: What is searched for.
        limits: What a choice must keep.
        room: Trials that may be taken in later.
        fitted: Who fits processes.
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
        """Begin with these measured trials."""
        known: dict[str, tuple[Floats, Floats]] = {}
        for objective in self._objectives:
            values, noise, scale = learnable(trials, objective.metric, objective.sign)
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
        """Begin with the trials of these rows, 1 where one failed and 0 where it did not.

        Least squares on 0 and 1: a process learns which choices what fails has in common.
        """
        across = self._features.distances(rows, self.asked)
        self._fails = self._group(rows, {"fails": (failed, np.zeros(len(failed)))}, across)

    def _group(
        self, rows: Indices, known: Mapping[str, tuple[Floats, Floats]], across: Floats
    ) -> _Group:
        """Predictions from figures and their variances, by name."""
        between = self._features.distances(rows, rows)
        processes = [self._fitted(name, between, *figures) for name, figures in known.items()]
        predictions = [Prediction(process, across, self._room) for process in processes]
        return _Group(self._features, rows, predictions)

    def holds(self, rows: Indices) -> bool:
        """Whether all of these rows are among the candidates."""
        return bool((self._place[rows] >= 0).all())

    def places(self, rows: Indices) -> Indices:
        """Where these rows are among the candidates."""
        return self._place[rows]

    def take(self, row: int, trial: Trial) -> bool:
        """Take a trial in that has ended; False where all must begin anew for it."""
        if self._left == 0 or (trial.status == "failed" and self._fails is None):
            return False
        self._left -= 1
        new = np.array([row], dtype=np.intp)
        across = self._features.distances(new, self.asked)[:, 0]
        if self._fails is not None:
            self._fails.add(new, [(float(trial.status == "failed"), 0.0)], across)
        return trial.status == "failed" or self._take_figures(new, trial, across)

    def _take_figures(self, new: Indices, trial: Trial, across: Floats) -> bool:
        """Take a measured trial's figures in; False where they can't be scaled as the others."""
        found = [
            scaled(trial, objective.metric, objective.sign, scale)
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
        """Mean and deviation of what is to be minimised, `(asked, objectives)` each."""
        means, deviations = zip(*self._figures.figures()[: len(self._objectives)], strict=True)
        return np.stack(means, axis=1), np.stack(deviations, axis=1)

    def seen(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """What was measured, `(trials, objectives)`, and whether it keeps the limits."""
        return np.stack(self._costs), np.array(self._counted)

    def keeping(self) -> Floats:
        """The probability that all limits are kept, `(asked,)`."""
        chance = np.ones(len(self.asked))
        found = self._figures.figures()[len(self._objectives) :]
        for limit, (mean, deviation) in zip(self._limits, found, strict=True):
            chance *= ndtr((limit.sign * limit.bound - mean) / deviation)
        return chance

    def ending_well(self) -> Floats:
        """The probability that each runs at all, from how others ended, `(asked,)`."""
        if self._fails is None:
            return np.ones(len(self.asked))
        ((mean, deviation),) = self._fails.figures()
        return np.asarray(ndtr((0.5 - mean) / np.hypot(deviation, OUTCOME_DOUBT)))

    def seconds(self, built: npt.NDArray[np.bool_]) -> Floats:
        """What each candidate should take, `(asked,)`.

        Args:
            built: Whether what it needs is there, `(asked,)`.
        """
        return self._seconds.of(built)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Expectations, and what they stand for.

    Attributes:
        expected: The expectations.
        known: The rows of all ended trials that were taken in or left out, by number.
        count: Measured trials when they were begun.
        front: The front's rows then, where it decides which candidates are weighed.
    """

    expected: Expectations
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
        """Whether they can be kept up with a record.

        Args:
            ended: Rows of its trials that have ended, by number.
            measured: How many of them have figures.
            front: Rows of its front, where that decides which candidates are weighed.
            left: Rows of everything that is left.
            running: Rows of what runs.
        """
        grown = measured < ANEW or measured > GROWN * self.count
        if grown or front != self.front or not self.known.items() <= ended.items():
            return False
        weighed = bool(front) or self.expected.holds(left)
        return weighed and self.expected.holds(running)

    def take(self, trials: Sequence[Trial], rows: Mapping[int, int]) -> bool:
        """Take in what is new among ended trials; False where all must begin anew for it."""
        for trial in trials:
            if trial.number not in self.known:
                row = rows[trial.number]
                if not self.expected.take(row, trial):
                    return False
                self.known[trial.number] = row
        return True


def _bounded(trial: Trial, limit: Limit) -> tuple[float, float]:
    """A limit's figure such that less is better, and its variance."""
    return limit.sign * trial.value(limit.metric), variance(trial, limit.metric)
