"""Probabilities to be on the front within the limits: Monte Carlo over measurements' intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .pareto import Costs, nondominated

FAR_DEVIATIONS = 5.0
"""Standard deviations assumed to bound a sampled value; 1 sample in 2 million lies outside."""
CHANCE_DRAWS = 400
"""Monte Carlo samples of a probability, whose standard error is 2.5 % at most."""
HALF_INTERVAL = 1.96
"""Half of a 95 % interval, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Values of trials as costs (lower is better), with their own intervals.

    Attributes:
        middle: The values, `(trials, columns)`.
        low: Lower ends of their 95 % intervals.
        high: Upper ends of their 95 % intervals.
        errors: Name of the error of each column. Columns of one name, also of two `Values` that are
            drawn together, err together: latency and throughput of a trial follow from one
            measured ratio.
    """

    middle: Costs
    low: Costs
    high: Costs
    errors: Sequence[str]

    @property
    def below(self) -> Costs:
        """Standard deviations below the values."""
        return np.maximum(self.middle - self.low, 0.0) / HALF_INTERVAL

    @property
    def above(self) -> Costs:
        """Standard deviations above the values."""
        return np.maximum(self.high - self.middle, 0.0) / HALF_INTERVAL

    def best(self) -> Costs:
        """Return the lowest costs that the intervals leave possible."""
        return self.middle - FAR_DEVIATIONS * self.below

    def worst(self) -> Costs:
        """Return the highest costs that the intervals leave possible."""
        return self.middle + FAR_DEVIATIONS * self.above


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Values that must keep a bound, with an error that all trials share in addition.

    A shared error is a factor on the size of values. It has no effect on the order of trials, but
    all of them keep or break a limit together.

    Attributes:
        values: The values of the limited metrics, as costs.
        bounds: The largest cost that keeps each limit, `(columns,)`.
        shared: Name of the shared factor of each column; empty without one.
        affected: Whether the factor applies to a value, `(trials, columns)`.
        factors: By name, standard deviations of the logarithm of the shared factor: towards better
            and towards worse values.
    """

    values: Values
    bounds: npt.NDArray[np.float64]
    shared: Sequence[str]
    affected: npt.NDArray[np.bool_]
    factors: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def kept(self, costs: Costs, draws: Mapping[str, Costs]) -> npt.NDArray[np.bool_]:
        """Return the mask of trials that keep all bounds, `(draws, trials)`.

        Args:
            costs: Values of the columns, `(draws, trials, columns)`.
            draws: By name, the shared error in standard deviations, `(draws,)`; above 0 is worse.
        """
        logs = np.zeros((len(costs), 1, len(self.bounds)))
        for column, name in enumerate(self.shared):
            if name in self.factors:
                better, worse = self.factors[name]
                drawn = draws[name]
                logs[:, 0, column] = drawn * np.where(drawn > 0, worse, better)
        scaled = costs * np.exp(np.where(self.affected, np.sign(costs) * logs, 0.0))
        found: npt.NDArray[np.bool_] = np.all(scaled <= self.bounds, axis=2)
        return found

    def rows(self, chosen: npt.NDArray[np.intp]) -> "Bounds":
        """Return the bounds of some of the trials."""
        return Bounds(
            values=_rows(self.values, chosen),
            bounds=self.bounds,
            shared=self.shared,
            affected=self.affected[chosen],
            factors=self.factors,
        )


def no_bounds(trials: int) -> Bounds:
    """Return bounds without a limit."""
    nothing = np.empty((trials, 0))
    return Bounds(
        values=Values(middle=nothing, low=nothing, high=nothing, errors=()),
        bounds=np.empty(0),
        shared=(),
        affected=np.empty((trials, 0), dtype=np.bool_),
    )


def chances(
    values: Values, limits: Bounds | None = None, draws: int = CHANCE_DRAWS, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return the probability that each row is on the front within the limits, shape `(trials,)`.

    Monte Carlo estimate. Every error is drawn from a normal distribution, with separate standard
    deviations below and above the value. In each draw the front is that of the rows that keep the
    limits: a row just beyond a limit has a probability, and one just within less than 1.

    Args:
        values: The objectives.
        limits: The limited values of the same trials; None without limits.
        draws: Number of Monte Carlo samples.
        seed: Seed of the random generator.
    """
    limits = no_bounds(len(values.middle)) if limits is None else limits
    rows = np.flatnonzero(_possible(values, limits))
    values, bounds = _rows(values, rows), limits.rows(rows)
    random = np.random.default_rng(seed)
    names = list(dict.fromkeys([*values.errors, *bounds.values.errors]))
    errors = random.standard_normal((draws, len(rows), len(names)))
    shared = {name: random.standard_normal(draws) for name in bounds.factors}
    kept = bounds.kept(_moved(bounds.values, errors, names), shared)
    costs = _moved(values, errors, names)
    counts = np.zeros(len(limits.affected))
    for draw in range(draws):
        inside = np.flatnonzero(kept[draw])
        counts[rows[inside]] += nondominated(costs[draw, inside])
    found: npt.NDArray[np.float64] = counts / draws
    return found


def _moved(values: Values, errors: Costs, names: Sequence[str]) -> Costs:
    """Return values with errors, given in standard deviations, `(draws, trials, names)`."""
    own = errors[..., [names.index(name) for name in values.errors]]
    costs: Costs = values.middle + own * np.where(own > 0, values.above, values.below)
    return costs


def _rows(values: Values, chosen: npt.NDArray[np.intp]) -> Values:
    return Values(
        middle=values.middle[chosen],
        low=values.low[chosen],
        high=values.high[chosen],
        errors=values.errors,
    )


def _possible(values: Values, limits: Bounds) -> npt.NDArray[np.bool_]:
    """Return the mask of rows that need sampling: those that can be on the front, `(trials,)`.

    Left out are rows that break a limit in their best case, and rows whose best case is dominated
    by the worst case of a row that keeps all limits in its worst case. Neither can keep another row
    off the front: dominance is transitive, so the row that dominates them dominates every row that
    they dominate.
    """
    best, worst = values.best(), values.worst()
    far = dict.fromkeys(limits.factors, np.array([FAR_DEVIATIONS]))
    near = dict.fromkeys(limits.factors, np.array([-FAR_DEVIATIONS]))
    (possible,) = limits.kept(limits.values.best()[None], near)
    (certain,) = limits.kept(limits.values.worst()[None], far)
    sure = worst[certain]
    sure = sure[nondominated(sure)]
    below = (sure[:, None] <= best[None]).all(axis=2) & (sure[:, None] < best[None]).any(axis=2)
    found: npt.NDArray[np.bool_] = possible & ~below.any(axis=0)
    return found
