"""Ties of trials and probabilities to be on the front, computed on access."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.trial import Trial

from .chances import CHANCE_DRAWS, Values, chances
from .costs import bounds_of, values_of
from .intervals import Intervals
from .pareto import indistinguishable


class Ties(Mapping[int, tuple[Trial, ...]]):
    """Trials that tie with a trial in every objective, by number; computed on access.

    An unconfirmed trial is listed as tied with unconfirmed trials only: it never takes the place of
    one that is not.

    Args:
        trials: Trials that are compared.
        values: Their objectives, with intervals for comparisons between trials.
        unconfirmed: Numbers of the unconfirmed trials.
    """

    def __init__(
        self, trials: Sequence[Trial], values: Values, unconfirmed: Collection[int] = ()
    ) -> None:
        self._trials = trials
        self._values = values
        self._unconfirmed = unconfirmed
        self._places = {trial.number: place for place, trial in enumerate(trials)}

    def __getitem__(self, number: int) -> tuple[Trial, ...]:
        """Return the tied trials, without the trial itself; KeyError if it is not compared."""
        place, known = self._places[number], self._values
        same = np.flatnonzero(indistinguishable(known.middle, known.low, known.high, place))
        others = (self._trials[int(other)] for other in same if other != place)
        return tuple(
            t for t in others if number in self._unconfirmed or t.number not in self._unconfirmed
        )

    def __iter__(self) -> Iterator[int]:
        """Iterate over the trial numbers, in the order of the trials."""
        return iter(self._places)

    def __len__(self) -> int:
        """Return the number of compared trials."""
        return len(self._places)


class Chances(Mapping[int, float]):
    """Probabilities of measured trials to be on the front within limits, computed on access.

    A trial that lacks an objective or a limited metric has the probability 0.

    Args:
        intervals: Intervals of the search's measurements.
        trials: All recorded trials.
        objectives: The objectives.
        limits: The limits.
        draws: Number of Monte Carlo samples.
    """

    def __init__(
        self,
        intervals: Intervals,
        trials: Sequence[Trial],
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        draws: int = CHANCE_DRAWS,
    ) -> None:
        self._numbers = [trial.number for trial in trials if trial.measured]
        self._parts = intervals, trials, objectives, limits
        self._draws = draws

    @cached_property
    def _found(self) -> dict[int, float]:
        intervals, trials, objectives, limits = self._parts
        needed = {o.metric for o in objectives} | {limit.metric for limit in limits}
        able = [t for t in trials if t.measured and needed <= t.measurements.keys()]
        values = values_of(intervals, able, objectives)
        shares = chances(values, bounds_of(intervals, able, limits), self._draws)
        drawn = {t.number: float(share) for t, share in zip(able, shares, strict=True)}
        return {number: drawn.get(number, 0.0) for number in self._numbers}

    def __getitem__(self, number: int) -> float:
        """Return the probability; KeyError if the trial was not measured."""
        return self._found[number]

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of the measured trials."""
        return iter(self._numbers)

    def __len__(self) -> int:
        """Return the number of measured trials."""
        return len(self._numbers)
