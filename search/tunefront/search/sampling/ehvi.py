"""Bayesian optimisation by expected hypervolume improvement over a list of configurations.

A Gaussian process for each objective predicts the untried configurations. The next one has the
largest expected hypervolume improvement per second, times the probability that it does not fail
and keeps the limits. A configuration whose candidate is already built is expected to take less
time.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tunefront.evaluators.statistics.arrays import Floats, Indices
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.front.pareto import nondominated
from tunefront.search.sampling.history.observations import NOTHING_EARLIER, EarlierSearches
from tunefront.search.sampling.surrogate.encoding import Features, encode
from tunefront.search.sampling.surrogate.gaussian_process import (
    OF_FAILURES,
    OF_METRICS,
    GaussianProcess,
    fit,
)
from tunefront.search.sampling.surrogate.targets import TargetScale
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted
from tunefront.spaces import Choice, Configuration

from .acquisition import Acquisition
from .base import Proposal, Sampler
from .improvement import improvement_of
from .predictions import ALWAYS_REFIT_BELOW, FAILS, REFIT_GROWTH, PredictionCache, Predictions

T = TypeVar("T")

STARTUP_TRIALS = 4
"""Trials of the space-filling initial design, before any prediction."""
ENOUGH_TO_JUDGE = 3
"""Own trials from which on earlier searches are used only if they predict these trials better."""
POOL = 4_000
"""Largest pool of configurations. Above it: half nearest neighbours of the front, half random."""
TRAINING_SET = 250
"""Training-set limit of a refit: the front (cut at this size) plus an even subset of the rest."""
PARAMETERS_FROM = 200
"""Largest number of trials from which the parameters of a Gaussian process are learnt."""
CAUTION = 2.0
"""Factor of the predicted deviations for the gains that end a search: predictions that are a little
too certain would end it long before the front is found."""
BEYOND = 0.3
"""Distance of the reference point beyond the worst values of the expected front, as a share of its
range."""


class EhviSampler(Sampler):
    """A sampler that maximises expected hypervolume improvement per second.

    Args:
        choices: The choices of the space.
        runnable: The configurations that can run.
        objectives: The objectives.
        limits: The limits that a trial must keep.
        seed: Seed of the initial design and of random subsets.
        earlier: Earlier searches, from whose trials the surrogates learn as well.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        runnable: Sequence[Configuration],
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        seed: int,
        earlier: EarlierSearches = NOTHING_EARLIER,
    ) -> None:
        self._choices = earlier.extended(choices)
        self._listed = list(dict.fromkeys(runnable))
        self._objectives = objectives
        self._limits = limits
        self._random = np.random.default_rng(seed)
        self._earlier = earlier
        self._past: Sequence[Trial] | None = None
        self._features = self._encoded(self._listed)
        self._candidates = self._same_candidates()
        self._row_of = {c: row for row, c in enumerate(self._listed)}
        self._parameters: dict[tuple[str, bool], tuple[int, Floats]] = {}
        self._cache: PredictionCache | None = None

    def __getstate__(self) -> dict[str, object]:
        """Return the state without cached predictions, which are large and cheap to recompute."""
        return {**vars(self), "_cache": None}

    def propose(
        self, trials: Sequence[Trial], excluded: Collection[Configuration] = ()
    ) -> Proposal | None:
        """Return the configuration with the largest acquisition value; None if none is left.

        The reason states the predicted gain, metric values and probabilities.
        """
        past = self._past_trials(trials)
        self._encode_new([*trials, *past])
        tried = np.array([self._row_of[t.configuration] for t in trials], dtype=np.intp)
        left = np.ones(len(self._features.codes), dtype=np.bool_)
        left[tried] = False
        left[[self._row_of[c] for c in excluded]] = False
        left[len(self._listed) :] = False
        rows = np.flatnonzero(left)
        if len(rows) == 0:
            return None
        measured = [trial for trial in trials if trial.measured]
        startup = (STARTUP_TRIALS, 3) if len(past) < STARTUP_TRIALS else (1, 1)
        if len(trials) < startup[0] or len(measured) < startup[1]:
            row = self._covering(rows, tried)
            reason = "covers values that were not tried yet"
            return Proposal(configuration=self._listed[row], reason=reason)
        with threadpool_limits(1, user_api="blas"):  # trials are measured at the same time
            predictions = self._predictions(rows, trials, measured, past)
            rows = predictions.predicted[left[predictions.predicted]]
            acquisition = self._acquisition(predictions, rows, trials, measured)
        best = int(np.argmax(acquisition.value))
        reason = acquisition.describe(best, self._objectives)
        if predictions.past:
            reason += f"; from {counted(predictions.past, 'trial')} of earlier searches, too"
        return Proposal(
            configuration=self._listed[int(rows[best])],
            reason=reason,
            expected_gains=tuple(acquisition.gains.tolist()),
            expected=acquisition.expected(best, self._objectives),
        )

    def _past_trials(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """Return the trials of earlier searches, once the baseline has been measured."""
        if self._past is None and trials and trials[0].measured:
            self._past = self._earlier.observed(trials[0], self._objectives, self._limits)
        return self._past or ()

    def _encoded(self, configurations: Sequence[Configuration]) -> Features:
        features = encode(configurations, self._choices)
        if not self._earlier.trials:
            return features
        return replace(features, tables=[*features.tables[:-1], self._earlier.table])

    def _encode_new(self, trials: Sequence[Trial]) -> None:
        """Encode recorded configurations that are not in the list, such as the baseline."""
        known = len(self._row_of)
        for trial in trials:
            self._row_of.setdefault(trial.configuration, len(self._row_of))
        if len(self._row_of) > known:
            self._features = self._encoded(list(self._row_of))
            self._candidates = self._same_candidates()
            self._cache = None

    def _same_candidates(self) -> Indices:
        """Return a candidate number for each configuration; equal if they share a candidate."""
        before = [choice.stage != "execution" for choice in self._choices]
        if not any(before):
            return np.zeros(len(self._features.codes), dtype=np.intp)
        _, numbers = np.unique(self._features.codes[:, before], axis=0, return_inverse=True)
        return numbers.reshape(-1)

    def _covering(self, rows: Indices, tried: Indices) -> int:
        """Return the row of the next configuration of the initial design.

        Its score is the sum over choices of 1 / (1 + times its value was tried), plus the distance
        to the nearest tried configuration, plus a small random number that breaks ties.
        """
        places = self._features.codes
        observed = [
            np.bincount(places[tried, j], minlength=len(t)) for j, t in enumerate(self._tables)
        ]
        rare = sum(1.0 / (1 + counts[places[rows, j]]) for j, counts in enumerate(observed))
        score = np.asarray(rare) + 1e-3 * self._random.random(len(rows))
        if len(tried):
            near = sum(
                table[np.ix_(places[rows, j], places[tried, j])]
                for j, table in enumerate(self._tables)
            )
            score += np.asarray(near).min(axis=1)
        return int(rows[np.argmax(score)])

    @property
    def _tables(self) -> Sequence[Floats]:
        return self._features.tables

    def _pool(self, rows: Indices, front: Collection[int]) -> Indices:
        """Return all rows, or above `POOL` half neighbours of the front and half random rows."""
        if len(rows) <= POOL:
            return rows
        own = self._features.codes[sorted(front)]
        columns = np.ascontiguousarray(self._features.codes[rows].T)
        differ = np.full(len(rows), len(self._choices), dtype=np.int8)
        for point in own:
            apart = sum(column != value for column, value in zip(columns, point, strict=True))
            np.minimum(differ, apart, out=differ)
        order = np.lexsort((self._random.random(len(rows)), differ))
        near = order[: POOL // 2]
        others = self._random.choice(order[POOL // 2 :], size=POOL // 2, replace=False)
        return np.asarray(rows[np.concatenate([near, others])])

    def _training_set(self, measured: Sequence[Trial]) -> Sequence[Trial]:
        """Return all trials, or above `TRAINING_SET` the front and an even subset of the rest."""
        if len(measured) <= TRAINING_SET:
            return measured
        counted = np.array([trial.status == "ok" for trial in measured])
        costs = np.array([[trial.cost(o) for o in self._objectives] for trial in measured])
        costs[~counted] = np.inf
        front = np.flatnonzero(nondominated(costs) & counted)[:TRAINING_SET]
        rest = np.setdiff1d(np.arange(len(measured)), front)
        spread = _spread(rest.tolist(), TRAINING_SET - len(front))
        return [measured[place] for place in sorted([*front.tolist(), *spread])]

    def _predictions(
        self,
        rows: Indices,
        trials: Sequence[Trial],
        measured: Sequence[Trial],
        past: Sequence[Trial],
    ) -> Predictions:
        """Return predictions: cached ones updated with newly ended trials, or refitted ones.

        Args:
            rows: Rows of the configurations that are left.
            trials: All trials.
            measured: The measured trials.
            past: Trials of earlier searches.
        """
        running = self._rows([trial for trial in trials if trial.status == "running"])
        ended = [trial for trial in trials if trial.measured or trial.status == "failed"]
        known = {trial.number: self._row_of[trial.configuration] for trial in ended}
        front = self._front(measured) if len(rows) > POOL else frozenset()
        cache = self._cache
        if (
            cache is not None
            and cache.is_valid_for(known, len(measured), front, rows, running)
            and cache.update(ended, known)
        ):
            return cache.predictions
        predicted = np.concatenate([self._pool(rows, front), running])
        training = self._training_set(measured)
        predictions = self._learnt(predicted, training, past, len(measured))
        if past and len(training) >= ENOUGH_TO_JUDGE:
            alone = self._learnt(predicted, training, (), len(measured), predictions.scales)
            if alone.evidence() > predictions.evidence():
                predictions = alone
        failed = [trial for trial in ended if trial.status == "failed"][-TRAINING_SET // 2 :]
        if failed:
            fine = _spread(measured, TRAINING_SET - len(failed))
            outcomes = np.array([1.0] * len(failed) + [0.0] * len(fine))
            predictions.fit_failures(self._rows([*failed, *fine]), outcomes)
        self._cache = PredictionCache(
            predictions=predictions, known=known, count=len(measured), front=front
        )
        return predictions

    def _learnt(
        self,
        predicted: Indices,
        own: Sequence[Trial],
        past: Sequence[Trial],
        measured: int,
        scales: Sequence[TargetScale] | None = None,
    ) -> Predictions:
        """Return predictions learnt from trials of this search and of earlier ones.

        Args:
            predicted: Rows of the configurations to predict.
            own: Measured trials of this search.
            past: Trials of earlier searches.
            measured: Number of all measured trials of this search.
            scales: Scales of the objectives; None to choose them by the values.
        """
        predictions = Predictions(
            self._features,
            predicted,
            self._objectives,
            self._limits,
            room=int((REFIT_GROWTH - 1) * measured) + 1,
            fitted=partial(self._fit, past=len(past)),
        )
        predictions.fit_targets(self._rows([*own, *past]), own, past, scales)
        return predictions

    def _front(self, measured: Sequence[Trial]) -> frozenset[int]:
        """Return the rows of the nondominated trials, whether they keep the limits or not."""
        costs = np.array([[trial.cost(o) for o in self._objectives] for trial in measured])
        best = (t for t, kept in zip(measured, nondominated(costs), strict=True) if kept)
        return frozenset(self._row_of[trial.configuration] for trial in best)

    def _acquisition(
        self,
        predictions: Predictions,
        rows: Indices,
        trials: Sequence[Trial],
        measured: Sequence[Trial],
    ) -> Acquisition:
        """Return the acquisition terms of `rows`, the configurations left in the pool."""
        running = self._rows([trial for trial in trials if trial.status == "running"])
        mean, deviation = predictions.targets()
        costs, counted = predictions.training_values()
        # Running trials are assumed to end as predicted (kriging believer).
        costs = np.concatenate([costs, mean[predictions.indices_of(running)]])
        counted = np.append(counted, np.ones(len(running), dtype=np.bool_))
        front, reference = _target(costs, counted, mean, deviation)
        own = predictions.indices_of(rows)
        mean, deviation = mean[own], deviation[own]
        built = np.isin(
            self._candidates[predictions.predicted], self._candidates[self._rows(measured)]
        )
        return Acquisition(
            improvement=improvement_of(front, reference, mean, deviation),
            cautious=improvement_of(front, reference, mean, CAUTION * deviation),
            feasibility=predictions.feasibility()[own],
            success=predictions.success()[own],
            pending_penalty=self._pending_penalty(rows, running)
            if len(running)
            else np.ones(len(rows)),
            mean=mean,
            deviation=deviation,
            noise=predictions.noise(),
            scales=predictions.scales,
            seconds=predictions.seconds(built)[own],
        )

    def _rows(self, trials: Sequence[Trial]) -> Indices:
        return np.array([self._row_of[t.configuration] for t in trials], dtype=np.intp)

    def _fit(
        self,
        name: str,
        between: Floats,
        values: Floats,
        noise: Floats,
        *,
        past: int = 0,
    ) -> GaussianProcess:
        """Fit a Gaussian process; learn its parameters again when there are 10 % more trials.

        Args:
            name: Name of the target.
            between: Distances between trials for each choice, `(choices, trials, trials)`.
            values: Values of the target, `(trials,)`.
            noise: Their variances, `(trials,)`.
            past: Number of trials of earlier searches among those of which metrics are known.
        """
        own = len(values) - (0 if name == FAILS else past)
        searches, prior = past > 0, OF_FAILURES if name == FAILS else OF_METRICS
        key = (name, searches)
        count, start = self._parameters.get(key, (0, None))
        learn = start is None or len(values) < ALWAYS_REFIT_BELOW or own > REFIT_GROWTH * count
        if learn and len(values) > PARAMETERS_FROM:
            some = self._random.choice(len(values), size=PARAMETERS_FROM, replace=False)
            part = between[:, some][:, :, some]
            start = fit(part, values[some], noise[some], start, True, searches, prior).parameters
            model = fit(between, values, noise, start, False, searches, prior)
        else:
            model = fit(between, values, noise, start, learn, searches, prior)
        if learn:
            self._parameters[key] = own, model.parameters
        return model

    def _pending_penalty(self, rows: Indices, running: Indices) -> Floats:
        """Return the penalty factor 1 - 0.8 exp(-2 d), d the distance to the nearest running trial.

        A configuration similar to a running trial would give little new information.
        """
        distances = self._features.distances(running, rows).sum(axis=0).min(axis=0)
        return np.asarray(1.0 - 0.8 * np.exp(-2.0 * distances))


def _spread(items: Sequence[T], count: int) -> Sequence[T]:
    """Return at most `count` evenly spaced items."""
    if len(items) <= count:
        return items
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, count)]


def _target(
    costs: Floats, counted: npt.NDArray[np.bool_], expected: Floats, deviation: Floats
) -> tuple[Floats, Floats]:
    """Return the front of the trials that keep the limits (of all if none does) and the reference.

    The reference lies beyond the worst values of the expected front, that of measured and predicted
    values together: the range of a front of few trials is much smaller than that of the final one.

    Args:
        costs: Values to minimise, `(trials, objectives)`.
        counted: Whether each trial keeps the limits, `(trials,)`.
        expected: Predicted means of all configurations, `(predicted, objectives)`.
        deviation: Their standard deviations, the scale of an objective whose front has no range.
    """
    kept = costs[counted] if counted.any() else costs
    front = kept[nondominated(kept)]
    both = np.concatenate([front, expected])
    ends = np.concatenate([front, both[nondominated(both)]])
    low, high = ends.min(axis=0), ends.max(axis=0)
    span = np.maximum(high - low, deviation.mean(axis=0))
    return front, high + BEYOND * span
