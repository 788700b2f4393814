"""What became of a figure: quotients, differences, and when they are beyond their intervals."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tunefront.evaluators import Direction, Evaluation, Measurement
from tunefront.search import Experiment, Trial
from tunefront.search.results.change import (
    TIED,
    against,
    change_of,
    difference,
    least_of,
    paired,
    quotient,
)

EvaluationOf = Callable[..., Evaluation]
TrialOf = Callable[..., Trial]


def around(value: float, half: float, samples: int = 5) -> Measurement:
    return Measurement(value=value, unit="ms", low=value - half, high=value + half, samples=samples)


def lognormal(value: float, sigma: float) -> Measurement:
    """A figure whose estimate is lognormal, with its 95 % interval."""
    wide = 1.96 * sigma
    return Measurement(
        value=value,
        unit="ms",
        low=value * math.exp(-wide),
        high=value * math.exp(wide),
        samples=9,
    )


def test_the_interval_of_a_quotient_is_that_of_drawn_quotients() -> None:
    before, after = lognormal(10.0, 0.03), lognormal(12.0, 0.05)
    random = np.random.default_rng(0)
    drawn = np.exp(random.normal(math.log(12 / 10), math.hypot(0.03, 0.05), 200_000))
    value, low, high = quotient(after, before)
    assert value == pytest.approx(1.2)
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), rel=3e-3)


def test_without_a_change_a_quotient_is_beyond_its_interval_once_in_twenty() -> None:
    """5 % of 4,000; three standard errors of that are 1 %."""
    random = np.random.default_rng(1)
    beyond = 0
    for one, other in random.normal(0, 0.02, (4000, 2)):
        found = change_of(
            lognormal(math.exp(one), 0.02), lognormal(math.exp(other), 0.02), "minimize"
        )
        beyond += found.verdict != TIED
    assert beyond / 4000 == pytest.approx(0.05, abs=0.011)


def test_the_interval_of_a_difference_adds_both_errors() -> None:
    assert difference(around(5.0, 0.3), around(1.0, 0.4)) == pytest.approx((4.0, 3.5, 4.5))


@pytest.mark.parametrize(
    ("after", "direction", "verdict"),
    [
        (11.0, "maximize", "better"),
        (11.0, "minimize", "worse"),
        (9.0, "maximize", "worse"),
        (9.0, "minimize", "better"),
        (10.05, "minimize", TIED),
    ],
)
def test_better_and_worse_follow_the_direction(
    after: float, direction: Direction, verdict: str
) -> None:
    found = change_of(around(10.0, 0.1), around(after, 0.1), direction)
    assert found.verdict == verdict
    assert found.relative
    assert found.change == pytest.approx(after / 10 - 1)


def test_a_change_that_is_too_small_to_matter_is_none_whatever_the_intervals() -> None:
    before, after = around(10.0, 0.0), around(10.09, 0.0)
    assert change_of(before, after, "minimize").verdict == "worse"
    assert change_of(before, after, "minimize", 0.01).verdict == TIED


def test_values_that_are_not_positive_are_compared_by_their_difference() -> None:
    found = change_of(around(-1.0, 0.1), around(2.0, 0.1), "minimize")
    assert not found.relative
    assert found.change == pytest.approx(3.0)
    assert found.verdict == "worse"


@pytest.fixture
def experiment(load: Callable[..., Experiment]) -> Experiment:
    return load("objectives={throughput: maximize, peak_memory_mb: minimize, perplexity: minimize}")


def test_a_speed_seen_in_turns_with_the_baseline_has_the_interval_of_that_ratio(
    experiment: Experiment, trial: TrialOf, evaluation: EvaluationOf
) -> None:
    speed, primary = experiment.metrics["throughput"], experiment.primary
    base = trial(0, throughput=100.0, spread=0.1)
    alone = trial(1, throughput=300.0, spread=0.01, evaluation=evaluation())
    beside = replace(alone, evaluation=replace(evaluation(), relative=around(3.0, 0.03)))
    own = against(beside, base, speed, primary)
    assert own is not None
    assert (own.value, own.low, own.high) == pytest.approx((3.0, 2.97, 3.03))
    other = against(alone, base, speed, primary)
    assert other is not None
    assert other.low < 2.75


def test_the_baseline_is_once_itself(experiment: Experiment, trial: TrialOf) -> None:
    base = trial(0, throughput=100.0, spread=0.1)
    own = against(base, base, experiment.metrics["throughput"], experiment.primary)
    assert own is not None
    assert (own.value, own.low, own.high, own.unit) == (1.0, 1.0, 1.0, "x")


def test_quality_against_the_baseline_is_its_loss_on_the_same_items(
    experiment: Experiment, trial: TrialOf
) -> None:
    base, primary = trial(0, perplexity=10.0, spread=0.3), experiment.primary
    row = trial(1, perplexity=10.2, spread=0.3)
    with_loss = replace(row, measurements={**row.measurements, "quality_drop": around(2.0, 0.5)})
    own = against(with_loss, base, primary, primary)
    assert own is not None
    assert (own.value, own.low, own.high) == pytest.approx((1.02, 1.015, 1.025))
    loss = experiment.metrics["quality_drop"]
    assert against(with_loss, with_loss, loss, primary) == around(2.0, 0.5)


def test_a_multiple_of_what_is_not_positive_says_nothing(
    experiment: Experiment, trial: TrialOf
) -> None:
    metric = experiment.metrics["throughput"]
    rows = trial(0, throughput=0.0), trial(1, throughput=3.0)
    assert against(rows[1], rows[0], metric, experiment.primary) is None
    # A loss that may be everything leaves no multiple either.
    lost = trial(1, perplexity=10.0)
    whole = replace(lost, measurements={**lost.measurements, "quality_drop": around(-90.0, 30.0)})
    assert against(whole, trial(0, perplexity=9.0), experiment.primary, experiment.primary) is None


def test_quality_of_two_searches_is_compared_item_by_item(
    experiment: Experiment, trial: TrialOf, evaluation: EvaluationOf
) -> None:
    """A difference far below the spread of items, which a comparison of means would not see."""
    random = np.random.default_rng(0)
    items = random.normal(2.0, 0.5, 200)
    worse = items + random.normal(0.02, 0.01, 200)
    rows = [
        trial(0, perplexity=float(np.exp(i.mean())), spread=0.07, evaluation=evaluation(i.tolist()))
        for i in (items, worse)
    ]
    primary = experiment.primary
    least = least_of(primary)
    found = paired(rows[0], rows[1], primary, True, least)
    assert found is not None
    assert found.verdict == "worse"
    assert found.change == pytest.approx(math.expm1((worse - items).mean()))
    before, after = (row.measurements["perplexity"] for row in rows)
    assert change_of(before, after, "minimize", least).verdict == TIED
    assert paired(rows[0], rows[1], primary, False, least) is None


def test_items_that_were_not_all_evaluated_are_not_paired(
    experiment: Experiment, trial: TrialOf, evaluation: EvaluationOf
) -> None:
    whole = trial(0, perplexity=9.0, evaluation=evaluation([1.0, 2.0, 3.0]))
    fewer = trial(1, perplexity=9.0, evaluation=evaluation([1.0, 2.0]))
    items = evaluation([1.0, 2.0, 3.0])
    ended = replace(items, items=(items.items[0], (1.0, 1.0, 0.0)))
    early = trial(2, perplexity=9.0, evaluation=ended)
    for other in (fewer, early, trial(3, perplexity=9.0)):
        assert paired(whole, other, experiment.primary, True, 0.0) is None


def test_what_counts_as_a_change_depends_on_the_metric(experiment: Experiment) -> None:
    metrics = experiment.metrics
    assert least_of(metrics["throughput"]) == 0.01
    assert least_of(metrics["perplexity"]) == 5e-4
    assert least_of(metrics["quality_drop"]) == 0.05
