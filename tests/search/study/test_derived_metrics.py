"""A trial's figures from its evaluation: beside the baseline, and what they cost."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.evaluators import Evaluation, Measurement, Metric, measured_metrics
from tunefront.search import Experiment
from tunefront.search.study.derived_metrics import (
    BETWEEN_PROCESSES,
    costs,
    measurements_of,
    scale_at,
    steadied,
)

EvaluationOf = Callable[..., Evaluation]
Load = Callable[..., Experiment]
TWICE = Measurement(value=2.0, unit="x", low=1.9, high=2.2, samples=7)


def metrics_in(evaluation: Evaluation) -> list[Metric]:
    known = measured_metrics()
    return [known[name] for name in evaluation.measurements if name in known]


@pytest.fixture(scope="session")
def baseline(evaluation: EvaluationOf) -> Evaluation:
    return evaluation(throughput=100.0, latency_ms=10.0, perplexity=10.0)


@pytest.fixture(scope="session")
def own(evaluation: EvaluationOf) -> Evaluation:
    """Measured when the machine was half as fast as it was for the baseline."""
    figures = {
        "throughput": 100.0,
        "tokens_per_second": 5000.0,
        "latency_ms": 10.0,
        "latency_p90_ms": 12.0,
        "latency_p99_ms": 20.0,
    }
    return evaluation(spread=0.1, perplexity=10.4, **figures)


def test_speed_is_the_ratio_to_the_baseline_on_the_baselines_machine(
    load: Load, own: Evaluation, baseline: Evaluation
) -> None:
    found = measurements_of(load(), replace(own, relative=TWICE), baseline)
    throughput = found["throughput"]
    low, high = (
        200 * math.exp(sign * math.hypot(math.log(ratio), 1.96 * BETWEEN_PROCESSES))
        for sign, ratio in ((-1, 2.0 / 1.9), (1, 2.2 / 2.0))
    )
    assert (throughput.low, throughput.value, throughput.high) == pytest.approx((low, 200, high))
    assert (throughput.unit, throughput.samples) == ("items/s", 7)
    assert found["tokens_per_second"].value == pytest.approx(10_000)
    assert found["latency_ms"].value == pytest.approx(5)
    assert found["latency_p90_ms"].value == pytest.approx(6)
    assert found["latency_p99_ms"].value == pytest.approx(10)
    for name in ("peak_memory_mb", "perplexity"):
        assert found[name] == own.measurements[name]


def test_metrics_that_follow_the_speed_up_have_its_relative_interval(own: Evaluation) -> None:
    found = steadied(own.measurements, metrics_in(own), TWICE, 100.0)
    latency, tokens = found["latency_ms"], found["tokens_per_second"]
    assert (latency.low, latency.high) == pytest.approx((10 / 2.2, 10 / 1.9))
    assert (tokens.low, tokens.high) == pytest.approx((5000 * 1.9, 5000 * 2.2))


def test_percentiles_cover_their_own_error_and_that_of_the_ratio(own: Evaluation) -> None:
    """Half-widths on the log scale in quadrature; a percentile without an upper end has none."""
    found = steadied(own.measurements, metrics_in(own), TWICE, 100.0)["latency_p90_ms"]
    below = math.hypot(math.log(1 / 0.9), math.log(2.2 / 2.0))
    above = math.hypot(math.log(1.1), math.log(2.0 / 1.9))
    assert found.value == pytest.approx(6)
    assert (found.low, found.high) == pytest.approx((6 * math.exp(-below), 6 * math.exp(above)))
    unbounded = replace(own.measurements["latency_p99_ms"], high=math.inf)
    figures = {**own.measurements, "latency_p99_ms": unbounded}
    assert steadied(figures, metrics_in(own), TWICE, 100.0)["latency_p99_ms"].high == math.inf


def test_energy_is_converted_as_times_are_and_memory_is_not(evaluation: EvaluationOf) -> None:
    """It is power times time: a machine of half the speed needs twice of it for an item."""
    own = evaluation(energy_per_item=3.0, peak_memory_mb=500.0)
    found = steadied(own.measurements, metrics_in(own), TWICE, 100.0)
    assert found["energy_per_item"].value == pytest.approx(1.5)
    assert "peak_memory_mb" not in found
    known = measured_metrics()
    assert scale_at(known["throughput"], 2.0) == 2.0
    assert scale_at(known["latency_p99_ms"], 2.0) == scale_at(known["energy_per_item"], 2.0) == 0.5
    assert scale_at(known["peak_memory_mb"], 2.0) == 1.0


def test_values_that_were_not_measured_are_not_made_up(evaluation: EvaluationOf) -> None:
    plain = evaluation(latency_ms=10.0)
    found = steadied(plain.measurements, metrics_in(plain), TWICE, 100.0)
    assert set(found) == {"throughput", "latency_ms"}


def test_without_a_ratio_or_a_baseline_speed_stays_as_it_was_measured(
    load: Load, own: Evaluation, baseline: Evaluation
) -> None:
    experiment = load()
    alone = measurements_of(experiment, own, baseline)
    first = measurements_of(experiment, replace(own, relative=TWICE), None)
    for found in (alone, first):
        for name, figure in own.measurements.items():
            assert found[name] == figure


def test_the_loss_of_quality_is_against_the_baseline(
    load: Load, own: Evaluation, baseline: Evaluation
) -> None:
    experiment = load()
    assert measurements_of(experiment, own, baseline)["quality_drop"].value == pytest.approx(4.0)
    assert measurements_of(experiment, baseline, None)["quality_drop"] == Measurement.exact(
        0.0, "%"
    )


def test_without_quality_there_is_no_loss_of_it(load: Load, failure: EvaluationOf) -> None:
    assert measurements_of(load(), failure(), None) == {}


def test_costs_are_the_price_of_a_million(own: Evaluation) -> None:
    """3.60 an hour is 0.001 a second; 100 items/s make a million in 10,000 s."""
    found = costs(own.measurements, metrics_in(own), 3.6)
    items, tokens = found["cost_per_million_items"], found["cost_per_million_tokens"]
    assert items.value == pytest.approx(10.0)
    assert (items.low, items.high) == pytest.approx((10 / 1.1, 10 / 0.9))
    assert tokens.value == pytest.approx(0.2)
    assert items.samples == own.measurements["throughput"].samples


def test_costs_need_a_price_and_a_rate(own: Evaluation, evaluation: EvaluationOf) -> None:
    plain = evaluation()
    assert costs(own.measurements, metrics_in(own), None) == {}
    assert set(costs(plain.measurements, metrics_in(plain), 1.0)) == {"cost_per_million_items"}


def test_an_interval_down_to_nothing_has_a_cost(evaluation: EvaluationOf) -> None:
    plain = evaluation(throughput=1.0, spread=1.0)
    found = costs(plain.measurements, metrics_in(plain), 1.0)
    assert found["cost_per_million_items"].high > 1e6


def test_costs_follow_the_speed_on_the_baselines_machine(
    load: Load, own: Evaluation, baseline: Evaluation
) -> None:
    experiment = load("price_per_hour=3.6")
    found = measurements_of(experiment, replace(own, relative=TWICE), baseline)
    assert found["cost_per_million_items"].value == pytest.approx(5.0)
    assert found["cost_per_million_tokens"].value == pytest.approx(0.1)
