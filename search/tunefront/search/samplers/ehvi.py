"""Expected hypervolume improvement over the list of what can run and is left.

A process for each objective predicts what was not run; of the candidates the one with the greatest
expected hypervolume improvement, times the probability that it runs and keeps the limits, is next.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from tunefront.search.front import nondominated
from tunefront.search.objective import Limit, Objective
from tunefront.search.surrogate import Process, encode, expected_improvement, fit
from tunefront.search.trial import Trial
from tunefront.spaces import Choice, Configuration

from .base import Sampler

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

STARTUP_TRIALS = 8
"""Trials that cover the space before anything is predicted."""
POOL = 4_000
"""Candidates that are weighed at a time; of more, the front's neighbours and a random part."""
LEARNT_FROM = 300
"""Trials that a process' parameters are learnt from, at the most."""
RATIO = 3.0
"""Figures that are all positive and further apart than this factor are taken as logarithms."""
BEYOND = 1.0
"""How far beyond the front's worst values the reference lies, in parts of their range: far enough
that what extends the front at its ends counts, too."""


class EhviSampler(Sampler):
    """Proposes what is expected to push the front most.

    Args:
        choices: The choices of the space.
        runnable: The configurations that can run.
        objectives: What is searched for.
        limits: What a choice must keep.
        seed: Of the first design and of random parts.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        runnable: Sequence[Configuration],
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        seed: int,
    ) -> None:
        self._choices = choices
        self._listed = list(dict.fromkeys(runnable))
        self._objectives = objectives
        self._limits = limits
        self._random = np.random.default_rng(seed)
        self._features = encode(self._listed, choices)
        self._row_of = {c: row for row, c in enumerate(self._listed)}
        self._learnt: dict[str, tuple[int, Floats]] = {}

    def propose(self, trials: Sequence[Trial]) -> Configuration | None:
        """The candidate of the greatest expected gain; None where all have been tried."""
        self._take_in(trials)
        tried = np.array([self._row_of[t.configuration] for t in trials], dtype=np.intp)
        left = np.ones(len(self._features.places), dtype=np.bool_)
        left[tried] = False
        left[len(self._listed) :] = False
        rows = np.flatnonzero(left)
        if len(rows) == 0:
            return None
        measured = [trial for trial in trials if trial.measured]
        if len(trials) < STARTUP_TRIALS or len(measured) < 3:
            return self._listed[self._covering(rows, tried)]
        rows = self._pool(rows, measured)
        gain = self._gain(rows, trials, measured)
        return self._listed[int(rows[np.argmax(gain)])]

    def _take_in(self, trials: Sequence[Trial]) -> None:
        """Configurations that are not listed (the baseline may be one) are encoded, too."""
        known = len(self._row_of)
        for trial in trials:
            self._row_of.setdefault(trial.configuration, len(self._row_of))
        if len(self._row_of) > known:
            self._features = encode(list(self._row_of), self._choices)

    def _covering(self, rows: Rows, tried: Rows) -> int:
        """The row with most values that were not tried yet, far from what was; ties at random."""
        places = self._features.places
        seen = [np.bincount(places[tried, j], minlength=len(t)) for j, t in enumerate(self._tables)]
        rare = sum(1.0 / (1 + counts[places[rows, j]]) for j, counts in enumerate(seen))
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

    def _pool(self, rows: Rows, measured: Sequence[Trial]) -> Rows:
        """All candidates, or of many the neighbours of the front and a random part."""
        if len(rows) <= POOL:
            return rows
        costs = np.array([[trial.cost(o) for o in self._objectives] for trial in measured])
        best = [t for t, kept in zip(measured, nondominated(costs), strict=True) if kept]
        own = self._features.places[[self._row_of[t.configuration] for t in best]]
        places = self._features.places[rows]
        differ = np.full(len(rows), len(self._choices))
        for point in own:
            np.minimum(differ, (places != point).sum(axis=1), out=differ)
        order = np.lexsort((self._random.random(len(rows)), differ))
        near = order[: POOL // 2]
        others = self._random.choice(order[POOL // 2 :], size=POOL // 2, replace=False)
        return np.asarray(rows[np.concatenate([near, others])])

    def _gain(self, rows: Rows, trials: Sequence[Trial], measured: Sequence[Trial]) -> Floats:
        """Expected improvement times the chance of counting, `(rows,)`."""
        seen = self._rows(measured)
        running = self._rows([trial for trial in trials if trial.status == "running"])
        asked = np.concatenate([rows, running])
        between = self._features.distances(seen, seen)
        across = self._features.distances(seen, asked)
        means, deviations, values = [], [], []
        for objective in self._objectives:
            name, sign = objective.metric, objective.sign
            figures, noise = _figures(measured, name, sign)
            process = self._process(name, between, figures, noise)
            mean, deviation = process.predict(across)
            means.append(mean)
            deviations.append(deviation)
            values.append(figures)
        costs = np.stack(values, axis=1)
        mean, deviation = np.stack(means, axis=1), np.stack(deviations, axis=1)
        # What runs now is taken to come out as predicted.
        costs = np.concatenate([costs, mean[len(rows) :]])
        counted = np.array([trial.status == "ok" for trial in measured] + [True] * len(running))
        front, reference = _target(costs, counted)
        gain = expected_improvement(front, reference, mean[: len(rows)], deviation[: len(rows)])
        gain = gain * self._keeping(rows, measured, between, across[:, :, : len(rows)])
        gain = gain * self._ending_well(rows, trials)
        if len(running):
            gain = gain * self._apart(rows, running)
        if gain.max() <= 1e-12:  # nothing is expected of anything: take what is least known
            gain = deviation[: len(rows)].prod(axis=1)
        return gain

    def _rows(self, trials: Sequence[Trial]) -> Rows:
        return np.array([self._row_of[t.configuration] for t in trials], dtype=np.intp)

    def _process(self, name: str, between: Floats, figures: Floats, noise: Floats) -> Process:
        """A fitted process; its parameters are learnt again when a tenth more is known."""
        count, start = self._learnt.get(name, (0, None))
        learn = start is None or len(figures) < 60 or len(figures) > 1.1 * count
        if learn and len(figures) > LEARNT_FROM:
            some = self._random.choice(len(figures), size=LEARNT_FROM, replace=False)
            part = between[:, some][:, :, some]
            start = fit(part, figures[some], noise[some], start).parameters
            process = fit(between, figures, noise, start, learn=False)
        else:
            process = fit(between, figures, noise, start, learn=learn)
        if learn:
            self._learnt[name] = len(figures), process.parameters
        return process

    def _keeping(
        self, rows: Rows, measured: Sequence[Trial], between: Floats, across: Floats
    ) -> Floats:
        """The probability that a candidate keeps all limits."""
        chance = np.ones(len(rows))
        for limit in self._limits:
            sign = 1.0 if limit.test == "<=" else -1.0
            figures = np.array([sign * trial.value(limit.metric) for trial in measured])
            noise = np.array([_variance(trial, limit.metric) for trial in measured])
            process = self._process(f"limit {limit}", between, figures, noise)
            mean, deviation = process.predict(across)
            chance *= ndtr((sign * limit.bound - mean) / deviation)
        return chance

    def _ending_well(self, rows: Rows, trials: Sequence[Trial]) -> Floats:
        """The probability that a candidate runs at all, from how those like it ended."""
        ended = [trial for trial in trials if trial.status != "running"]
        if all(trial.measured for trial in ended):
            return np.ones(len(rows))
        distances = self._features.distances(self._rows(ended), rows).sum(axis=0)
        likeness = np.exp(-2.0 * distances)
        good = np.array([trial.measured for trial in ended], dtype=np.float64)
        return np.asarray((1.0 + good @ likeness) / (1.0 + likeness.sum(axis=0)))

    def _apart(self, rows: Rows, running: Rows) -> Floats:
        """Less for what is like something that runs now: its outcome would tell the same."""
        distances = self._features.distances(running, rows).sum(axis=0).min(axis=0)
        return np.asarray(1.0 - 0.5 * np.exp(-distances))


def _figures(trials: Sequence[Trial], metric: str, sign: float) -> tuple[Floats, Floats]:
    """Figures to be minimised and their variances; logarithms where ratios tell more."""
    values = np.array([trial.value(metric) for trial in trials])
    noise = np.array([_variance(trial, metric) for trial in trials])
    if values.min() > 0 and values.max() / values.min() > RATIO:
        return sign * np.log(values), noise / values**2
    return sign * values, noise


def _variance(trial: Trial, metric: str) -> float:
    """Of a figure, from its 95 % interval."""
    found = trial.measurements[metric]
    return ((found.high - found.low) / 3.92) ** 2


def _target(costs: Floats, counted: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The front of what counts, and the reference a little beyond its worst."""
    kept = costs[counted] if counted.any() else costs
    front = kept[nondominated(kept)]
    low, high = front.min(axis=0), front.max(axis=0)
    span = np.where(high > low, high - low, costs.std(axis=0) + 1e-9)
    return front, high + BEYOND * span
