"""Probabilities to be on the front within the limits, against formulas and a plain simulation."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunefront.search.front.chances import Bounds, Values, chances
from tunefront.search.front.pareto import Costs, nondominated

from .test_pareto import grids

DRAWS = 4000
HALF_OF_SIGMA = 1.96
"""Half of a 95 % interval, in standard deviations."""


def values(middle: Costs, sigma: Costs, errors: str = "abcd") -> Values:
    """Values with an error of their own in each column, unless the names of errors repeat."""
    half = HALF_OF_SIGMA * sigma
    names = tuple(errors[: middle.shape[1]])
    return Values(middle=middle, low=middle - half, high=middle + half, errors=names)


def bounds(
    own: Values, most: float, shared: str = "", factor: tuple[float, float] = (0.0, 0.0)
) -> Bounds:
    """The same bound for every column, with a factor that affects all or none of the trials."""
    columns = own.middle.shape[1]
    return Bounds(
        values=own,
        bounds=np.full(columns, most),
        shared=[shared] * columns,
        affected=np.full(own.middle.shape, bool(shared)),
        factors={shared: factor} if shared else {},
    )


@pytest.mark.parametrize("gap", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("errors", ["abc", "aaa"])
def test_the_chance_of_two_rows_is_the_probability_not_to_be_dominated(
    gap: float, width: int, errors: str
) -> None:
    """A row is dominated where the other is less in every objective, in each by its own error.

    Objectives with one error, such as latency and throughput, are less together. 4,000 draws: a
    standard error below 0.8 %; 3.5 % off has a probability below 0.01 %.
    """
    middle = np.array([[0.0] * width, [gap] * width])
    sigma = np.array([[0.5] * width, [1.2] * width])
    spread = float(np.hypot(0.5, 1.2))
    independent = len(set(errors[:width]))
    second_is_less = float(stats.norm.cdf(-gap / spread)) ** independent
    first_is_less = float(stats.norm.cdf(gap / spread)) ** independent
    expected = [1 - second_is_less, 1 - first_is_less]
    found = chances(values(middle, sigma, errors), draws=DRAWS)
    assert found == pytest.approx(expected, abs=0.035)


@given(grids(least=1))
def test_without_spread_chances_are_the_front(costs: Costs) -> None:
    found = chances(values(costs, np.zeros_like(costs)), draws=3)
    assert found.tolist() == nondominated(costs).astype(float).tolist()


@given(grids(least=1), st.integers(1, 3))
def test_every_draw_has_a_front(costs: Costs, half: int) -> None:
    known = values(costs, np.full_like(costs, half / 1.96))
    found = chances(known, draws=20)
    assert found.sum() >= 1.0 - 1e-9
    assert ((found >= 0) & (found <= 1)).all()
    assert (found == chances(known, draws=20)).all()


@pytest.mark.parametrize(("drop", "half"), [(0.95, 1.45), (1.01, 1.45), (0.2, 0.1), (3.0, 0.1)])
def test_the_chance_of_the_best_trial_is_that_of_keeping_the_limit(
    drop: float, half: float
) -> None:
    """A drop of 0.95 [-0.5, 2.4] keeps a limit of 1 with a probability of about a half."""
    speed = np.array([[-200.0], [-100.0]])
    loss = np.array([[drop], [0.0]])
    spread = np.array([[half / 1.96], [0.0]])
    limits = bounds(values(loss, spread, "q"), 1.0)
    found = chances(values(speed, np.zeros_like(speed)), limits, draws=DRAWS)
    kept = float(stats.norm.cdf((1.0 - drop) / (half / 1.96)))
    # The baseline is on the front where the faster trial breaks the limit.
    assert found == pytest.approx([kept, 1 - kept], abs=0.035)


def test_an_error_that_all_trials_share_has_no_effect_on_their_order() -> None:
    """Latencies of 6.7 and 6.6 by exact ratios to a baseline known to 6 %: both keep 6.8, or none.

    The slower one is never on the front: where it keeps the limit, the faster one does as well.
    """
    latency = np.array([[6.7], [6.6]])
    own = values(latency, np.zeros_like(latency))
    limits = bounds(own, 6.8, "level", (0.06, 0.06))
    found = chances(own, limits, draws=DRAWS)
    kept = float(stats.norm.cdf(np.log(6.8 / 6.6) / 0.06))
    assert found == pytest.approx([0.0, kept], abs=0.035)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_sides_of_an_interval_are_drawn_with_deviations_of_their_own(sign: float) -> None:
    """A factor that can only make values worse, and an interval that is open towards worse ones."""
    cost = np.array([[sign * 5.0]])
    own = values(cost, np.zeros_like(cost))
    worse = sign * 5.0 + 0.5
    assert chances(own, bounds(own, worse, "level", (9.0, 0.0)), draws=50).tolist() == [1.0]
    found = chances(own, bounds(own, worse, "level", (0.0, 9.0)), draws=DRAWS)
    assert found == pytest.approx([0.5], abs=0.035)
    beyond = Values(middle=cost, low=cost, high=np.full_like(cost, np.inf), errors="a")
    assert chances(own, bounds(beyond, worse), draws=DRAWS) == pytest.approx([0.5], abs=0.035)


def plain_chances(
    known: Values, limits: Bounds, draws: int, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Every row drawn; the errors `a` and `b` are those of objectives and limits alike."""
    counts = np.zeros(len(known.middle))
    for _ in range(draws):
        errors = {name: random.standard_normal(len(counts)) for name in "ab"}
        factor = float(np.exp(random.standard_normal() * limits.factors["level"][0]))

        def moved(of: Values, errors: dict[str, Costs]) -> Costs:
            sigma = (of.high - of.middle) / HALF_OF_SIGMA
            return np.asarray(of.middle + sigma * np.stack([errors[n] for n in of.errors], axis=1))

        kept = (moved(limits.values, errors) * factor <= limits.bounds).all(axis=1)
        costs = moved(known, errors)
        for row in np.flatnonzero(kept):
            others = costs[kept]
            better = (others <= costs[row]).all(axis=1) & (others < costs[row]).any(axis=1)
            counts[row] += not better.any()
    return counts / draws


@pytest.mark.parametrize("seed", range(4))
def test_rows_left_out_of_the_draws_are_those_without_a_chance(seed: int) -> None:
    """2,000 draws against 1,000: a standard error below 2 %; 8 % off has a probability of 1e-4."""
    random = np.random.default_rng(seed)
    middle = random.uniform(1, 3, (12, 2))
    known = values(middle, random.choice([0.0, 0.02, 0.3], (12, 2)), "ab")
    limited = random.uniform(1, 3, (12, 1))
    limits = bounds(
        values(limited, random.choice([0.0, 0.02, 0.3], (12, 1)), "a"), 2.0, "level", (0.1, 0.1)
    )
    found = chances(known, limits, draws=2000)
    expected = plain_chances(known, limits, 1000, random)
    assert found == pytest.approx(expected, abs=0.08)
