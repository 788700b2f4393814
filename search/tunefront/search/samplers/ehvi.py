"""Expected hypervolume improvement over the list of what can run and is left.

A process for each objective predicts what was not run; of the candidates the one with the greatest
expected hypervolume improvement a second, times the probability that it runs and keeps the limits,
is next. What is built already takes fewer seconds at another batch size.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from tunefront.search.front import hypervolume, nondominated
from tunefront.search.objective import Limit, Objective
from tunefront.search.surrogate import (
    Process,
    Scale,
    encode,
    expected_improvement,
    expected_seconds,
    fit,
    learnable,
    variance,
)
from tunefront.search.trial import Trial
from tunefront.spaces import Choice, Configuration

from .base import Sampler

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
T = TypeVar("T")

STARTUP_TRIALS = 8
"""Trials that cover the space before anything is predicted."""
POOL = 4_000
"""Candidates that are weighed at a time; of more, the front's neighbours and a random part."""
REMEMBERED = 250
"""Trials that processes are conditioned on, at the most: the front, and of the others a part."""
LEARNT_FROM = 200
"""Trials that a process' parameters are learnt from, at the most."""
OUTCOME_DOUBT = 0.4
"""What is added to the deviation of whether something runs: next to what fails, something may."""
BEYOND = 1.0
"""How far beyond the front's worst values the reference lies, in parts of their range: far enough
that what extends the front at its ends counts, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlook:
    """What is expected of candidates.

    Attributes:
        gain: Hypervolume that each adds on average, `(candidates,)`.
        covered: Hypervolume of the front as it is.
        keeping: The probability that it keeps the limits, `(candidates,)`.
        ending_well: The probability that it runs at all, `(candidates,)`.
        apart: How little it is like what runs now, 0.2 to 1, `(candidates,)`.
        mean: Of the figures to be minimised, `(candidates, objectives)`.
        deviation: Of the figures, `(candidates, objectives)`.
        scales: Whether the figures of an objective are logarithms.
        seconds: What each should take, given what is built already, `(candidates,)`.
    """

    gain: Floats
    covered: float
    keeping: Floats
    ending_well: Floats
    apart: Floats
    mean: Floats
    deviation: Floats
    scales: Sequence[Scale]
    seconds: Floats

    @property
    def worth(self) -> Floats:
        """Expected gain a second, times the chance of counting; of nothing, what is least known."""
        chance: Floats = self.keeping * self.ending_well * self.apart
        gain = self.gain if (self.gain * chance).max() > 1e-12 else self.deviation.prod(axis=1)
        worth: Floats = gain * chance / self.seconds
        return worth

    @property
    def gains(self) -> Floats:
        """What each adds when it counts, times its chance, over what the front covers; sorted."""
        gains = self.gain * self.keeping * self.ending_well / max(self.covered, 1e-300)
        return np.asarray(-np.sort(-gains))

    def told(self, row: int, objectives: Sequence[Objective]) -> str:
        """One candidate's outlook in words."""
        parts = [f"expected to add {self.gain[row] / max(self.covered, 1e-300):.1%} to the front"]
        for place, objective in enumerate(objectives):
            value, spread = objective.sign * self.mean[row, place], self.deviation[row, place]
            if self.scales[place] == "log":
                parts.append(f"{objective.metric} {np.exp(value):.4g} ± {np.expm1(spread):.0%}")
            else:
                parts.append(f"{objective.metric} {value:.4g} ± {spread:.2g}")
        parts.append(f"keeps the limits at {self.keeping[row]:.0%}")
        parts.append(f"runs at {self.ending_well[row]:.0%}")
        if np.ptp(self.seconds) > 0:
            parts.append(f"takes about {self.seconds[row]:.3g} s")
        return ", ".join(parts)


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
        self._why = ""
        self._gains: Floats | None = None

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
        rows = self._pool(rows, measured)
        with threadpool_limits(1, user_api="blas"):  # trials are being measured beside it
            outlook = self._outlook(rows, trials, self._remembered(measured))
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

    def _same_candidates(self) -> Rows:
        """A number for each configuration, the same where what is built is the same."""
        before = [choice.stage != "execution" for choice in self._choices]
        if not any(before):
            return np.zeros(len(self._features.places), dtype=np.intp)
        _, numbers = np.unique(self._features.places[:, before], axis=0, return_inverse=True)
        return numbers.reshape(-1)

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

    def _outlook(self, rows: Rows, trials: Sequence[Trial], measured: Sequence[Trial]) -> _Outlook:
        """What is expected of every candidate."""
        seen = self._rows(measured)
        running = self._rows([trial for trial in trials if trial.status == "running"])
        asked = np.concatenate([rows, running])
        between = self._features.distances(seen, seen)
        across = self._features.distances(seen, asked)
        means, deviations, values, scales = [], [], [], []
        for objective in self._objectives:
            name = objective.metric
            figures, noise, scale = learnable(measured, name, objective.sign)
            process = self._process(name, between, figures, noise)
            mean, deviation = process.predict(across)
            means.append(mean)
            deviations.append(deviation)
            values.append(figures)
            scales.append(scale)
        costs = np.stack(values, axis=1)
        mean, deviation = np.stack(means, axis=1), np.stack(deviations, axis=1)
        # What runs now is taken to come out as predicted.
        costs = np.concatenate([costs, mean[len(rows) :]])
        counted = np.array([trial.status == "ok" for trial in measured] + [True] * len(running))
        front, reference = _target(costs, counted)
        mean, deviation = mean[: len(rows)], deviation[: len(rows)]
        return _Outlook(
            gain=expected_improvement(front, reference, mean, deviation),
            covered=hypervolume(front, reference),
            keeping=self._keeping(rows, measured, between, across[:, :, : len(rows)]),
            ending_well=self._ending_well(rows, trials, measured),
            apart=self._apart(rows, running) if len(running) else np.ones(len(rows)),
            mean=mean,
            deviation=deviation,
            scales=scales,
            seconds=expected_seconds(
                measured, across[:, :, : len(rows)].sum(axis=0), self._built(rows, seen)
            ),
        )

    def _built(self, rows: Rows, measured: Rows) -> npt.NDArray[np.bool_]:
        """Whether what a candidate needs was built and judged for a trial already."""
        built: npt.NDArray[np.bool_] = np.isin(self._candidates[rows], self._candidates[measured])
        return built

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
            noise = np.array([variance(trial, limit.metric) for trial in measured])
            process = self._process(f"limit {limit}", between, figures, noise)
            mean, deviation = process.predict(across)
            chance *= ndtr((sign * limit.bound - mean) / deviation)
        return chance

    def _ending_well(
        self, rows: Rows, trials: Sequence[Trial], remembered: Sequence[Trial]
    ) -> Floats:
        """The probability that a candidate runs at all, from how others ended.

        Least squares on 0 and 1: a process learns which choices what fails has in common.
        """
        failed = [trial for trial in trials if trial.status == "failed"][-REMEMBERED // 2 :]
        if not failed:
            return np.ones(len(rows))
        fine = _spread(remembered, REMEMBERED - len(failed))
        seen = self._rows([*failed, *fine])
        outcomes = np.array([1.0] * len(failed) + [0.0] * len(fine))
        between = self._features.distances(seen, seen)
        process = self._process("fails", between, outcomes, np.zeros(len(seen)))
        mean, deviation = process.predict(self._features.distances(seen, rows))
        return np.asarray(ndtr((0.5 - mean) / np.hypot(deviation, OUTCOME_DOUBT)))

    def _apart(self, rows: Rows, running: Rows) -> Floats:
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
