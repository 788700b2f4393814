"""Values of requests: which belong together, and how many independent ones they are worth."""

import numpy as np
import pytest
from scipy.stats import binom

from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.dependence import variance_between
from tunefront.evaluators.statistics.intervals import quantile_interval, share_interval
from tunefront.evaluators.statistics.pace import paces
from tunefront.evaluators.statistics.request_values import BlockValues, RequestValues
from tunefront.evaluators.statistics.timing import Block, Timing


def values_of(*blocks: Floats, overlap: float = 1.0, first: int = 0) -> RequestValues:
    return RequestValues.of(
        [
            BlockValues(turn=turn, part=0, values=values, overlap=overlap, first=first)
            for turn, values in enumerate(blocks)
        ]
    )


def test_values_are_known_by_request_run_turn_and_what_runs_with_them() -> None:
    found = values_of(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[5.0, 6.0, 7.0, 8.0]]), overlap=2)
    assert found.values.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert found.request.tolist() == [0, 1, 2, 3] * 2
    assert found.turn.tolist() == [0] * 4 + [1] * 4
    assert found.run.tolist() == list(range(8))
    assert found.wave.tolist() == [0, 0, 1, 1, 3, 3, 4, 4]
    assert [one.tolist() for one in found.of_each_request()] == [[1, 5], [2, 6], [3, 7], [4, 8]]


def test_a_pass_can_begin_with_any_request() -> None:
    assert values_of(np.array([[1.0, 2.0, 3.0]]), first=2).request.tolist() == [2, 0, 1]


def test_missing_values_are_left_out() -> None:
    gaps = np.array([[[1.0, np.nan], [2.0, 3.0]]])
    found = values_of(gaps)
    assert (found.values.tolist(), found.run.tolist()) == ([1, 2, 3], [0, 1, 1])


def test_requests_that_share_every_step_count_once() -> None:
    """Groups of four in progress have the same time: at most 40 groups, not 160 requests."""
    random = np.random.default_rng(0)
    times = np.repeat(random.normal(1, 0.1, (10, 4)), 4, axis=1)
    together = values_of(*times[:, None, :], overlap=4.0)
    assert 20 <= together.independent <= 45
    alone = values_of(*random.normal(1, 0.1, (10, 1, 16)))
    assert alone.independent == pytest.approx(160, abs=20)


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_a_percentile_covers_where_slow_moments_make_requests_alike(share: float) -> None:
    """At least 93 % of runs of 60 turns with 8 requests; a twelfth of the turns is slow.

    Over 3,000 runs 97.9 % for the p90 and 93.6 % for the p99; 500 runs below 91 % have a
    probability below 1 %. If all 480 requests counted as independent, it would be 55 and 45 %. They
    are worth as many as there are turns, so that the upper end of the p99 is open. Without slow
    turns they are worth at least two thirds of their number in the median.
    """
    random = np.random.default_rng(0)

    def run(turns: int, slow: float) -> Floats:
        factors = np.where(random.random(turns) < slow, random.normal(0.2, 0.05, turns), 0.0)
        return np.asarray(np.exp(factors[:, None] + random.normal(0, 0.01, (turns, 8))))

    truth = float(np.quantile(run(200_000, 1 / 12), share))
    hits = []
    for _ in range(500):
        found = values_of(*run(60, 1 / 12)[:, None, :])
        _, low, high = quantile_interval(found.values, share, found.independent_at(share))
        hits.append(low <= truth <= high)
    assert np.mean(hits) >= 0.91
    calm = [values_of(*run(60, 0.0)[:, None, :]).independent_at(share) for _ in range(100)]
    assert np.median(calm) >= 320


def test_values_without_variance_count_once_a_group() -> None:
    assert values_of(np.ones((2, 8)), overlap=4.0).independent == 4
    assert values_of(np.ones((2, 8))).independent == 16


def test_gaps_are_divided_by_the_requests_that_share_a_step() -> None:
    gaps = np.random.default_rng(0).normal(1, 0.1, (1, 16, 30))
    assert values_of(gaps, overlap=4.0).independent <= 120
    assert values_of(gaps).independent == pytest.approx(480, abs=60)


def test_large_values_that_come_together_are_worth_less_for_a_percentile() -> None:
    """One turn of ten holds all large values."""
    random = np.random.default_rng(0)
    turns = [random.normal(1, 0.1, (1, 16)) + (5 if n == 3 else 0) for n in range(10)]
    found = values_of(*turns, overlap=2.0)
    assert found.independent_at(0.9) <= found.independent < 40


def test_the_interval_of_the_choice_covers_requests_that_differ_only() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.05, (12, 1, 6))
    same = values_of(*(1 + noise)).interval_of_choice()
    assert same[2] / same[1] < 1.06
    lengths = np.array([0.5, 0.7, 0.9, 1.1, 1.3, 1.5])
    differ = values_of(*(lengths + noise)).interval_of_choice()
    assert differ[0] == pytest.approx(1, abs=0.02)
    assert differ[2] / differ[1] > 1.7
    (one,) = [values_of(np.ones((3, 1))).interval_of_choice()]
    assert one == (1, 1, 1)


def test_the_variance_between_groups_is_without_that_within() -> None:
    """The mean of 300 estimates is within 10 % of the truth, 4."""
    random = np.random.default_rng(1)
    found = [
        variance_between([level + random.normal(0, 3, 20) for level in random.normal(0, 2, 12)])
        for _ in range(300)
    ]
    assert np.mean(found) == pytest.approx(4, rel=0.1)
    assert variance_between([np.array([1.0]), np.array([3.0])]) == 2
    assert variance_between([np.array([1.0, 5.0])]) == 0


@pytest.mark.parametrize("truth", [0.02, 0.3, 0.9])
def test_the_interval_of_a_share_covers_it(truth: float) -> None:
    """Exact: the probabilities of all counts whose interval covers the truth sum to 95 %."""
    count = 40
    covered = [
        low <= truth <= high
        for _, low, high in (share_interval(hits / count, count) for hits in range(count + 1))
    ]
    chances = np.asarray(binom.pmf(np.arange(count + 1), count, truth))
    assert chances[covered].sum() >= 0.95
    assert share_interval(0.0, count)[:2] == (0, 0)
    assert share_interval(1.0, count)[2] == 1


def test_the_rate_of_an_open_loop_is_no_pace_of_the_machine() -> None:
    """Turns with fewer requests at hand are not slow ones."""
    blocks = [
        [Block(request_s=np.ones((1, 2)), cpu_s=1e-9, wait_s=0.0, span_s=span)]
        for span in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0, 1.0, 1.5)
    ]
    closed = [Timing(blocks=blocks, items=2) for _ in range(2)]
    opened = [Timing(blocks=blocks, items=2, open_loop=True) for _ in range(2)]
    assert min(paces(closed)[0]) < 0.9
    assert paces(opened)[0].tolist() == [1.0] * 8
