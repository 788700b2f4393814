"""What a proposal says about its prediction."""

from dataclasses import replace

import numpy as np
import pytest

from tunefront.search.experiment.objective import Objective
from tunefront.search.sampling.acquisition import Acquisition
from tunefront.search.sampling.improvement import Improvement


def acquisition(samples: int) -> Acquisition:
    return Acquisition(
        improvement=Improvement(gain=np.array([0.1, 0.4]), covered=2.0, samples=samples),
        cautious=Improvement(gain=np.array([0.2, 0.8]), covered=2.0, samples=samples),
        feasibility=np.array([1.0, 0.5]),
        success=np.ones(2),
        pending_penalty=np.ones(2),
        mean=np.array([[1.0], [2.0]]),
        deviation=np.array([[0.5], [0.25]]),
        noise=np.array([0.0]),
        scales=["linear"],
        seconds=np.ones(2),
    )


def test_an_approximated_hypervolume_is_named_in_the_reason() -> None:
    objectives = [Objective(metric="latency_ms", direction="minimize")]
    rest = "latency_ms 2 ± 0.25, keeps the limits at 50 %, runs at 100 %"
    assert acquisition(0).describe(1, objectives) == f"expected to add 20 % to the front, {rest}"
    assert acquisition(4096).describe(1, objectives) == (
        f"expected to add 20 % to the front (hypervolume approximated by 4,096 samples), {rest}"
    )


def test_a_gain_of_more_than_the_front_is_a_multiple() -> None:
    objectives = [Objective(metric="latency_ms", direction="minimize")]
    small = replace(acquisition(0), improvement=Improvement(gain=np.array([0, 5.0]), covered=2.0))
    assert small.describe(1, objectives).startswith("expected to make the front 3.5 times as large")


def test_expected_intervals_hold_nine_of_ten_measured_values() -> None:
    lower = [Objective(metric="latency_ms", direction="minimize")]
    higher = [Objective(metric="throughput", direction="maximize")]
    draws = 2.0 + np.hypot(0.25, 0.5) * np.random.default_rng(0).standard_normal(20_000)
    noisy = replace(acquisition(0), noise=np.array([0.5]))
    low, high = noisy.expected(1, lower)["latency_ms"]
    assert np.mean((draws > low) & (draws < high)) == pytest.approx(0.9, abs=0.01)
    wide = replace(noisy, scales=["log"])
    assert wide.expected(1, lower)["latency_ms"] == pytest.approx((np.exp(low), np.exp(high)))
    assert noisy.expected(1, higher)["throughput"] == pytest.approx((-high, -low))


def test_gains_are_cautious_shares_of_the_front_times_probabilities() -> None:
    assert acquisition(0).gains.tolist() == [0.2, 0.1]
