"""How many replicas a rate needs, and what they cost."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from tunefront.evaluators import Measurement
from tunefront.evaluators.interfaces.polled.capacity import CapacityResult, CapacitySearch
from tunefront.search import Experiment, Trial
from tunefront.search.results.result import Result
from tunefront.search.results.sizing import Sizing, sizing_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.spaces import ExperimentError

Load = Callable[..., Experiment]
TrialOf = Callable[..., Trial]


def capacity(value: float, low: float, high: float) -> Measurement:
    return Measurement(value=value, unit="requests/s", low=low, high=high, samples=8)


def test_replicas_follow_from_the_interval_of_the_capacity() -> None:
    found = Sizing(rate=50.0, capacity=capacity(12.0, 11.0, 13.5), price_per_hour=2.5)
    assert (found.fewest, found.most) == (4, 5)
    assert found.text == (
        "50 requests/s need 4 to 5 replicas, each with a capacity of 12 requests/s (11 to 13.5); "
        "they cost 10 to 12.5 an hour, at 2.5 each"
    )
    assert found.record["replicas"] == [4, 5]
    assert found.record["price_per_hour"] == [10.0, 12.5]


def test_one_number_of_replicas_is_told_once() -> None:
    found = Sizing(rate=3.0, capacity=capacity(12.0, 11.0, 13.5))
    assert found.text == (
        "3 requests/s need 1 replica, each with a capacity of 12 requests/s (11 to 13.5); "
        "with the key price_per_hour their price is shown"
    )
    assert found.record["price_per_hour"] == [None, None]
    priced = replace(found, price_per_hour=2.0)
    assert priced.text.endswith("they cost 2 an hour, at 2 each")


def test_an_open_interval_needs_one_replica_at_least() -> None:
    found = Sizing(rate=50.0, capacity=capacity(12.0, 11.0, math.inf))
    assert (found.fewest, found.most) == (1, 5)


def result_of(load: Load, kind: str | None, *trials: Trial, **searched: str) -> Result:
    experiment = load()
    experiment = replace(
        experiment,
        confirmation=experiment.confirmation.model_copy(update={"capacity": kind}),
        price_per_hour=2.0,
    )
    search = CapacitySearch(kind="rate", start=1.0, seconds=60.0, limit_s=960.0)
    capacities = {
        int(number.removeprefix("t")): CapacityResult(search=search, slo={}, problem=problem)
        for number, problem in searched.items()
    }
    return Result(
        experiment=experiment,
        trials=trials,
        front=cast(Any, None),
        confirmation=Confirmation(capacities=capacities),
        limits=(),
    )


def refusal(result: Result, trial: Trial) -> str:
    with pytest.raises(ExperimentError) as caught:
        sizing_of(result, trial, 50.0)
    return str(caught.value)


def test_a_measured_capacity_is_sized(load: Load, trial: TrialOf) -> None:
    own = trial(3)
    own = replace(own, measurements={**own.measurements, "capacity": capacity(12.0, 11.0, 13.5)})
    found = sizing_of(result_of(load, "rate", own), own, 50.0)
    assert (found.rate, found.most, found.price_per_hour) == (50.0, 5, 2.0)


@pytest.mark.parametrize(
    ("kind", "text"), [(None, "is not set"), ("concurrency", "is concurrency")]
)
def test_without_a_capacity_in_requests_a_second_the_next_step_is_named(
    load: Load, trial: TrialOf, kind: str | None, text: str
) -> None:
    found = refusal(result_of(load, kind, trial(3)), trial(3))
    assert found.startswith(
        f"--rate needs the capacity in requests/s, but confirmation.capacity {text}; write "
        "`confirmation: {capacity: rate}` in experiment.yaml and run `tunefront run "
    )
    assert found.endswith("again, which measures only what is missing")


def test_a_trial_without_a_capacity_is_told_the_reason(load: Load, trial: TrialOf) -> None:
    own, other = trial(3), trial(4)
    assert refusal(result_of(load, "rate", own), own).startswith(
        "--rate: no capacity was measured yet; run `tunefront run "
    )
    other = replace(other, measurements={**other.measurements, "capacity": capacity(12, 11, 13)})
    assert refusal(result_of(load, "rate", own, other), own) == (
        "--rate: the capacity of trial 3 was not measured, only that of 004: the finalists on the "
        "front and the baseline; name one of these"
    )
    assert refusal(result_of(load, "rate", own, t3="it crashed (crash)"), own) == (
        "--rate: trial 3 has no capacity: the capacity was not measured: it crashed (crash)"
    )
