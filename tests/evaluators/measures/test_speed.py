"""Timing without a model: passes, warm-up, intervals. No test depends on how fast anything is."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from tunefront.evaluators.measures import Measurement, Protocol
from tunefront.evaluators.measures.speed import (
    Timing,
    items_of,
    median_interval,
    speed_of,
    time_requests,
    tokens_of,
)
from tunefront.evaluators.workloads import Array, Inputs

REQUESTS: list[Inputs] = [
    {"input_ids": np.ones((2, 4)), "attention_mask": np.array([[1, 1, 1, 0], [1, 1, 0, 0]])},
    {"input_ids": np.ones((2, 3)), "attention_mask": np.ones((2, 3))},
]


class Clock:
    """Time that passes only when something is called."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.now = 0.0
        self.seconds = itertools.cycle(seconds)
        self.calls = 0

    def call(self, _: Inputs) -> list[Array]:
        self.now += next(self.seconds)
        self.calls += 1
        return []


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    """A clock class whose newest instance is the time."""

    class Installed(Clock):
        def __init__(self, seconds: Sequence[float]) -> None:
            super().__init__(seconds)
            speed = "tunefront.evaluators.measures.speed.time"
            monkeypatch.setattr(f"{speed}.perf_counter", lambda: self.now)
            monkeypatch.setattr(f"{speed}.perf_counter_ns", lambda: int(self.now * 1e9))

    return Installed


def test_steady_times_stop_at_the_least_number_of_passes(clocked: type[Clock]) -> None:
    clock = clocked([0.01])
    timing = time_requests(clock.call, REQUESTS, Protocol(seconds=100, passes=6))
    assert timing.request_s.shape == (6, 2)
    np.testing.assert_allclose(timing.request_s, 0.01)
    assert clock.calls == 2 * (3 + 6)  # three passes show that it is steady


def test_warm_up_goes_on_until_steady(clocked: type[Clock]) -> None:
    slow_start = [1.0, 1.0, 0.5, 0.5, 0.2, 0.2] + [0.01] * 1000
    clock = clocked(slow_start)
    timing = time_requests(clock.call, REQUESTS, Protocol(seconds=100, passes=6))
    assert timing.request_s.max() == pytest.approx(0.01)
    assert timing.warmup_s == pytest.approx(3.4 + 6 * 0.01)


def test_noisy_times_are_repeated_until_the_time_is_up(clocked: type[Clock]) -> None:
    random = np.random.default_rng(0)
    clock = clocked(list(random.lognormal(-3, 1.0, size=9973)))
    protocol = Protocol(seconds=20, passes=6, precision=0.001)
    timing = time_requests(clock.call, REQUESTS, protocol)
    assert 20 <= timing.pass_s.sum() < 25
    assert len(timing.pass_s) > 50


def test_a_very_slow_candidate_is_not_measured_for_ever(clocked: type[Clock]) -> None:
    clock = clocked([10.0])
    timing = time_requests(clock.call, REQUESTS, Protocol(seconds=1, passes=6))
    assert timing.request_s.shape == (3, 2)


@pytest.mark.parametrize("count", [6, 9, 15, 31])
def test_the_median_s_interval_covers(count: int) -> None:
    """95 % intended; over 4,000 draws less than 94 % has a probability below 0.3 %."""
    random = np.random.default_rng(count)
    hits = 0
    for _ in range(4000):
        median, low, high = median_interval(random.lognormal(size=count))
        assert low <= median <= high
        hits += low <= 1.0 <= high
    assert hits / 4000 >= 0.94


def test_speed_is_in_the_units_it_says() -> None:
    timing = Timing(request_s=np.full((8, 2), 0.05), warmup_s=0.0, cpu_s=0.8)
    speed = speed_of([timing], REQUESTS)
    assert speed["latency_ms"] == Measurement(value=50, unit="ms", low=50, high=50, samples=16)
    assert speed["throughput"].value == pytest.approx(4 / 0.1)
    assert speed["tokens_per_second"].value == pytest.approx((5 + 6) / 0.1)
    assert speed["latency_p99_ms"].value == pytest.approx(50)


def test_throughputs_of_replicas_add_up() -> None:
    timing = Timing(request_s=np.full((8, 2), 0.05), warmup_s=0.0, cpu_s=0.8)
    single, double = speed_of([timing], REQUESTS), speed_of([timing, timing], REQUESTS)
    assert double["throughput"].value == pytest.approx(2 * single["throughput"].value)
    assert double["latency_ms"].value == single["latency_ms"].value


def test_without_text_there_are_no_tokens() -> None:
    images: list[Inputs] = [{"pixel_values": np.ones((3, 3, 8, 8))}]
    assert items_of(images[0]) == 3
    assert tokens_of(images[0]) is None
    timing = Timing(request_s=np.full((8, 1), 0.05), warmup_s=0.0, cpu_s=0.4)
    assert "tokens_per_second" not in speed_of([timing], images)


def test_quantiles_enclose_their_value() -> None:
    random = np.random.default_rng(1)
    timing = Timing(request_s=random.lognormal(-3, 0.3, (50, 2)), warmup_s=0.0, cpu_s=1.0)
    for name in ("latency_p90_ms", "latency_p99_ms"):
        found = speed_of([timing], REQUESTS)[name]
        assert found.low <= found.value <= found.high
