"""Expected hypervolume improvement over the list of what can run and is left.

A process for each objective predicts what was not run; of the candidates the one with the greatest
expected hypervolume improvement a second, times the probability that it runs and keeps the limits,
is next. What is built already takes fewer seconds at another batch size.
"""

from collections.abc import Collection, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tunefront.evaluators.statistics.arrays import Floats, Indices
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.front.pareto import hypervolume, nondominated
from tunefront.search.sampling.surrogate.encoding import encode
from tunefront.search.sampling.surrogate.expected_improvement import expected_improvement
from tunefront.search.sampling.surrogate.gaussian_process import Process, fit
from tunefront.search.study.trial import Trial
from tunefront.spaces import Choice, Configuration

from .acquisition import Outlook
from .base import Sampler
from .predictions import ANEW, GROWN, Expectations, Kept

T = TypeVar("T")

STARTUP_TRIALS = 8
"""Trials that cover the space before anything is predicted."""
POOL = 4_000
"""Candidates that are weighed at a time; of more, the front's neighbours and a random part."""
REMEMBERED = 250
"""Trials that expectations begin with, at the most: the front, and of the others a part."""
LEARNT_FROM = 200
"""Trials that a process' parameters are learnt from, at the most."""
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
        self._candidates = self._same_candidates()
        self._row_of = {c: row for row, c in enumerate(self._listed)}
        self._learnt: dict[str, tuple[int, Floats]] = {}
        self._kept: Kept | None = None
        self._why = ""
        self._gains: Floats | None = None

    def __getstate__(self) -> dict[str, object]:
        """Without expectations, which are large and soon begun anew."""
        return {**vars(self), "_kept": None}

    def promise(self, count: int = 1) -> float | None:
        """The greatest expected gains together, over what the front covers."""
        return None if self._gains is None else float(self._gains[:count].sum())

    def explain(self) -> str:
        """Expected gain, uncertainty, and the chance that it counts."""
        return self._why

    def propose(
        self, trials: Sequence[Trial], skipped: Collection[Configuration] = ()
    ) -> Configuration | None:
        """The candidate of the greatest expected gain; None where all have been tried."""
        self._take_in(trials)
        tried = np.array([self._row_of[t.configuration] for t in trials], dtype=np.intp)
        left = np.ones(len(self._features.places), dtype=np.bool_)
        left[tried] = False
        left[[self._row_of[c] for c in skipped]] = False
        left[len(self._listed) :] = False
        rows = np.flatnonzero(left)
        if len(rows) == 0:
            return None
        measured = [trial for trial in trials if trial.measured]
        if len(trials) < STARTUP_TRIALS or len(measured) < 3:
            self._why, self._gains = "covers values that were not tried yet", None
            return self._listed[self._covering(rows, tried)]
        with threadpool_limits(1, user_api="blas"):  # trials are being measured beside it
            expected = self._expectations(rows, trials, measured)
            rows = expected.asked[left[expected.asked]]
            outlook = self._outlook(expected, rows, trials, measured)
        best = int(np.argmax(outlook.worth))
        self._why = outlook.told(best, self._objectives)
        self._gains = outlook.gains
        return self._listed[int(rows[best])]

    def _take_in(self, trials: Sequence[Trial]) -> None:
        """Configurations that are not listed (the baseline may be one) are encoded, too."""
        known = len(self._row_of)
        for trial in trials:
            self._row_of.setdefault(trial.configuration, len(self._row_of))
        if len(self._row_of) > known:
            self._features = encode(list(self._row_of), self._choices)
            self._candidates = self._same_candidates()
            self._kept = None

    def _same_candidates(self) -> Indices:
        """A number for each configuration, the same where what is built is the same."""
        before = [choice.stage != "execution" for choice in self._choices]
        if not any(before):
            return np.zeros(len(self._features.places), dtype=np.intp)
        _, numbers = np.unique(self._features.places[:, before], axis=0, return_inverse=True)
        return numbers.reshape(-1)

    def _covering(self, rows: Indices, tried: Indices) -> int:
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

    def _pool(self, rows: Indices, front: Collection[int]) -> Indices:
        """All candidates, or of many the neighbours of the front and a random part."""
        if len(rows) <= POOL:
            return rows
        own = self._features.places[sorted(front)]
        columns = np.ascontiguousarray(self._features.places[rows].T)
        differ = np.full(len(rows), len(self._choices), dtype=np.int8)
        for point in own:
            apart = sum(column != value for column, value in zip(columns, point, strict=True))
            np.minimum(differ, apart, out=differ)
        order = np.lexsort((self._random.random(len(rows)), differ))
        near = order[: POOL // 2]
        others = self._random.choice(order[POOL // 2 :], size=POOL // 2, replace=False)
        return np.asarray(rows[np.concatenate([near, others])])

    def _remembered(self, measured: Sequence[Trial]) -> Sequence[Trial]:
        """All, or of many the front and what is spread over the rest."""
        if len(measured) <= REMEMBERED:
            return measured
        counted = np.array([trial.status == "ok" for trial in measured])
        costs = np.array([[trial.cost(o) for o in self._objectives] for trial in measured])
        costs[~counted] = np.inf
        front = np.flatnonzero(nondominated(costs) & counted)[:REMEMBERED]
        rest = np.setdiff1d(np.arange(len(measured)), front)
        spread = _spread(rest.tolist(), REMEMBERED - len(front))
        return [measured[place] for place in sorted([*front.tolist(), *spread])]

    def _expectations(
        self, rows: Indices, trials: Sequence[Trial], measured: Sequence[Trial]
    ) -> Expectations:
        """Kept up with what has ended since, or begun anew where that is not enough.

        Args:
            rows: Of everything that is left.
            trials: All of the record.
            measured: Those that have figures.
        """
        running = self._rows([trial for trial in trials if trial.status == "running"])
        ended = [trial for trial in trials if trial.measured or trial.status == "failed"]
        known = {trial.number: self._row_of[trial.configuration] for trial in ended}
        front = self._front(measured) if len(rows) > POOL else frozenset()
        kept = self._kept
        if (
            kept is not None
            and kept.suits(known, len(measured), front, rows, running)
            and kept.take(ended, known)
        ):
            return kept.expected
        expected = Expectations(
            self._features,
            np.concatenate([self._pool(rows, front), running]),
            self._objectives,
            self._limits,
            room=int((GROWN - 1) * len(measured)) + 1,
            fitted=self._process,
        )
        remembered = self._remembered(measured)
        expected.learn_figures(self._rows(remembered), remembered)
        failed = [trial for trial in ended if trial.status == "failed"][-REMEMBERED // 2 :]
        if failed:
            fine = _spread(measured, REMEMBERED - len(failed))
            outcomes = np.array([1.0] * len(failed) + [0.0] * len(fine))
            expected.learn_failures(self._rows([*failed, *fine]), outcomes)
        self._kept = Kept(expected=expected, known=known, count=len(measured), front=front)
        return expected

    def _front(self, measured: Sequence[Trial]) -> frozenset[int]:
        """The rows of what nothing beats, whether it keeps the limits or not."""
        costs = np.array([[trial.cost(o) for o in self._objectives] for trial in measured])
        best = (t for t, kept in zip(measured, nondominated(costs), strict=True) if kept)
        return frozenset(self._row_of[trial.configuration] for trial in best)

    def _outlook(
        self,
        expected: Expectations,
        rows: Indices,
        trials: Sequence[Trial],
        measured: Sequence[Trial],
    ) -> Outlook:
        """What is expected of the candidates that are left."""
        running = self._rows([trial for trial in trials if trial.status == "running"])
        mean, deviation = expected.figures()
        costs, counted = expected.seen()
        # What runs now is taken to come out as predicted.
        costs = np.concatenate([costs, mean[expected.places(running)]])
        counted = np.append(counted, np.ones(len(running), dtype=np.bool_))
        front, reference = _target(costs, counted)
        own = expected.places(rows)
        mean, deviation = mean[own], deviation[own]
        built = np.isin(self._candidates[expected.asked], self._candidates[self._rows(measured)])
        return Outlook(
            gain=expected_improvement(front, reference, mean, deviation),
            covered=hypervolume(front, reference),
            keeping=expected.keeping()[own],
            ending_well=expected.ending_well()[own],
            apart=self._apart(rows, running) if len(running) else np.ones(len(rows)),
            mean=mean,
            deviation=deviation,
            scales=expected.scales,
            seconds=expected.seconds(built)[own],
        )

    def _rows(self, trials: Sequence[Trial]) -> Indices:
        return np.array([self._row_of[t.configuration] for t in trials], dtype=np.intp)

    def _process(self, name: str, between: Floats, figures: Floats, noise: Floats) -> Process:
        """A fitted process; its parameters are learnt again when a tenth more is known."""
        count, start = self._learnt.get(name, (0, None))
        learn = start is None or len(figures) < ANEW or len(figures) > GROWN * count
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

    def _apart(self, rows: Indices, running: Indices) -> Floats:
        """Less for what is like something that runs now: its outcome would tell the same."""
        distances = self._features.distances(running, rows).sum(axis=0).min(axis=0)
        return np.asarray(1.0 - 0.8 * np.exp(-2.0 * distances))


def _spread(items: Sequence[T], count: int) -> Sequence[T]:
    """So many of them at the most, evenly."""
    if len(items) <= count:
        return items
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, count)]


def _target(costs: Floats, counted: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The front of what counts, and the reference a little beyond its worst."""
    kept = costs[counted] if counted.any() else costs
    front = kept[nondominated(kept)]
    low, high = front.min(axis=0), front.max(axis=0)
    span = np.where(high > low, high - low, costs.std(axis=0) + 1e-9)
    return front, high + BEYOND * span
