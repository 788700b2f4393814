"""The interval of what every round measures once: coverage in a simulation, and its edges."""

import math

import numpy as np
import pytest
from scipy import stats

from tunefront.evaluators.statistics.rounds import rounds_interval


@pytest.mark.parametrize("rounds", [2, 3, 5])
@pytest.mark.parametrize("between", [0.006, 0.03])
def test_the_interval_of_few_rounds_covers(rounds: int, between: float) -> None:
    """95 % intended; over 2,000 draws less than 93.5 % has a probability below 0.2 %.

    The range of three holds the centre in 75 %. The median half-width of three is 2.1 deviations
    (asserted below 2.2): 4.3 standard errors with a deviation of 0.83 at the median.
    """
    random = np.random.default_rng(rounds)
    drawn = np.exp(random.normal(0.0, between, (2000, rounds)))
    found = [rounds_interval(values.tolist()) for values in drawn]
    assert np.mean([low <= 1.0 <= high for _, low, high in found]) >= 0.935
    if rounds == 3:
        widths = [math.log(high / low) / 2 for _, low, high in found]
        assert float(np.median(widths)) < 2.2 * between
        ranges = [values.min() <= 1.0 <= values.max() for values in drawn]
        assert np.mean(ranges) < 0.8


def test_it_is_student_s_interval_of_the_mean_logarithm() -> None:
    values = [10.0, 10.2, 11.0]
    middle, low, high = rounds_interval(values)
    logs = np.log(values)
    half = stats.t.ppf(0.975, 2) * logs.std(ddof=1) / math.sqrt(3)
    assert middle == 10.2
    assert (low, high) == pytest.approx(
        (math.exp(logs.mean() - half), math.exp(logs.mean() + half))
    )


def test_values_that_are_not_positive_have_an_interval_of_their_own_scale() -> None:
    """A training's log-likelihood, for example."""
    middle, low, high = rounds_interval([-2.0, -1.9, 0.0])
    mean, half = -1.3, stats.t.ppf(0.975, 2) * np.std([-2.0, -1.9, 0.0], ddof=1) / math.sqrt(3)
    assert middle == -1.9
    assert (low, high) == pytest.approx((mean - half, mean + half))


def test_it_contains_every_round() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        values = random.lognormal(size=8).tolist()
        _, low, high = rounds_interval(values)
        assert low <= min(values) and max(values) <= high


@pytest.mark.parametrize("values", [[5.0], [7.0, 7.0, 7.0], [0.0, 0.0]])
def test_what_does_not_differ_has_no_width(values: list[float]) -> None:
    assert rounds_interval(values) == (values[0],) * 3
