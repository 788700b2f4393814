"""Timing without a model: blocks, warm-up, when it is enough, and its values."""

from collections.abc import Sequence

import numpy as np
import pytest

from tunefront.evaluators.evaluation.protocol import Protocol, enough
from tunefront.evaluators.exports.verification import time_alone
from tunefront.evaluators.interfaces.base import no_collection
from tunefront.evaluators.interfaces.builtin import RequestSet, interface_of
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.tensors import (
    Inputs,
    TensorEndpoint,
    items_of,
    run_block,
    speed_of,
    tokens_of,
    warm_up,
)
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.timing import (
    Block,
    Timing,
)

from .timings import REQUESTS, Clock, Watch, block, of_seconds, sized, timing_of

# Blocks and warm-up


def test_a_block_is_passes_until_its_time_is_up(clocked: type[Clock]) -> None:
    clock = clocked([0.01])
    found = run_block(clock.call, REQUESTS, 0.09, Watch(clock))
    assert found.request_s.shape == (5, 2)
    np.testing.assert_allclose(found.request_s, 0.01)
    assert clock.calls == 1 + 10  # one request fetches the caches back
    assert found.cpu_s == pytest.approx(0.1) == pytest.approx(found.wall_s)


def test_a_block_has_at_least_one_pass(clocked: type[Clock]) -> None:
    clock = clocked([9.0])
    assert run_block(clock.call, REQUESTS, 0.1, Watch(clock)).request_s.shape == (1, 2)


def test_a_block_goes_to_json_and_back() -> None:
    made = block(0.125, passes=3, cpu_s=0.5, wait_s=0.25)
    again = from_plain(Block, to_plain(made))
    np.testing.assert_array_equal(again.request_s, made.request_s)
    assert (again.cpu_s, again.wait_s) == (0.5, 0.25)


@pytest.mark.parametrize(("wait_s", "clean"), [(0.0, True), (0.004, True), (0.006, False)])
def test_a_block_is_clean_where_its_threads_hardly_waited(wait_s: float, clean: bool) -> None:
    assert block(0.05, wait_s=wait_s).clean is clean


def test_warm_up_goes_on_until_steady(clocked: type[Clock]) -> None:
    slow_start = [1.0, 1.0, 0.5, 0.5, 0.2, 0.2] + [0.01] * 1000
    clock = clocked(slow_start)
    assert warm_up(clock.call, REQUESTS, 100) == pytest.approx(3.4 + 4 * 0.01)
    assert clock.calls == 2 * 5


def test_warm_up_ends_when_its_time_is_up(clocked: type[Clock]) -> None:
    clock = clocked([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    assert warm_up(clock.call, REQUESTS, 4.0) == pytest.approx(15.0)


def test_the_garbage_collector_rests_while_something_is_timed() -> None:
    import gc

    with pytest.raises(KeyError), no_collection():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


# Alone

ALONE = RequestSet(interface=interface_of("tensors"), load=Load(), requests=REQUESTS)


class Clocked(TensorEndpoint):
    """An endpoint whose calls take what a clock says."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def call(self, inputs: Inputs) -> Sequence[Array]:
        return self.clock.call(inputs)

    def facts(self) -> Facts:
        return {}


def test_steady_times_stop_at_the_least_number_of_turns(clocked: type[Clock]) -> None:
    clock = clocked([0.01])
    timing = time_alone(Clocked(clock), ALONE, Protocol(seconds=100, turns=6, block_s=0.02))
    assert len(timing.blocks) == 6
    assert all(len(turn) == 1 for turn in timing.blocks)


def test_noisy_times_are_repeated_until_the_time_is_up(clocked: type[Clock]) -> None:
    random = np.random.default_rng(0)
    clock = clocked(list(random.lognormal(-3, 1.0, size=9973)))
    protocol = Protocol(seconds=20, turns=6, precision=0.001, block_s=0.01)
    timing = time_alone(Clocked(clock), ALONE, protocol)
    spent = sum(turn[0].wall_s for turn in timing.blocks)
    assert 10 <= spent <= 25  # a third of a turn's requests fetches the caches
    assert len(timing.blocks) > 50


def test_a_very_slow_candidate_is_not_measured_for_ever(clocked: type[Clock]) -> None:
    clock = clocked([10.0])
    timing = time_alone(Clocked(clock), ALONE, Protocol(seconds=1, turns=6))
    assert len(timing.blocks) == 3


# Whether it is enough


PROTOCOL = Protocol(seconds=10, precision=0.03, turns=5)
WILD = (0.05, 0.15, 0.06, 0.14, 0.05, 0.13)


@pytest.mark.parametrize(
    ("seconds", "elapsed_s", "done"),
    [
        ([0.05] * 4, 1.0, False),
        ([0.05] * 5, 1.0, True),
        (WILD, 1.0, False),
        (WILD, 10.0, True),
        ([0.05] * 2, 29.9, False),
        ([0.05] * 2, 99.0, False),
        ([0.05] * 3, 29.9, False),
        ([0.05] * 3, 30.0, True),
    ],
)
def test_turns_are_enough_by_number_precision_or_time(
    seconds: Sequence[float], elapsed_s: float, done: bool
) -> None:
    assert enough(of_seconds(seconds), elapsed_s, PROTOCOL) is done


def test_turns_that_are_not_clean_are_made_up_for_until_three_times_the_time() -> None:
    turns = [*[block()] * 4, *[block(wait_s=1.0)] * 4]
    assert not enough(timing_of(turns), 20.0, PROTOCOL)
    assert enough(timing_of([*turns, block()]), 20.0, PROTOCOL)
    assert enough(timing_of(turns), 30.0, PROTOCOL)


def test_turns_that_were_disturbed_for_the_reference_are_made_up_for_by_the_wall_clock() -> None:
    dirty = block(0.1, cpu_s=0.1, wait_s=0.1)
    for threads, done in ((1, True), (2, False)):
        own = timing_of([block()] * 6, threads=1)
        beside = timing_of([*[block()] * 3, *[dirty] * 3], threads=threads)
        assert enough(own, 20.0, PROTOCOL, beside) is done
        assert enough(own, 30.0, PROTOCOL, beside)


def test_a_percentile_that_decides_takes_enough_requests() -> None:
    """36 independent ones for the 90 % percentile, or twelve times the seconds."""
    protocol = Protocol(seconds=10, precision=0.03, turns=5, percentiles={"": 0.9})
    assert (PROTOCOL.requests_needed(""), protocol.requests_needed("")) == (0, 36)
    few, many = (timing_of([block(passes=passes)] * 5) for passes in (3, 4))
    assert enough(few, 1.0, PROTOCOL)
    assert not enough(few, 119.0, protocol)
    assert enough(few, 120.0, protocol)
    assert enough(many, 1.0, protocol)


def test_beside_a_reference_the_ratio_counts() -> None:
    own, beside = of_seconds(WILD), of_seconds([2 * each for each in WILD])
    assert not enough(own, 1.0, PROTOCOL)
    assert enough(own, 1.0, PROTOCOL, beside)
    other = of_seconds(WILD[::-1])
    assert not enough(of_seconds([0.05] * 6), 1.0, PROTOCOL, other)


# Figures


def test_speed_is_in_the_units_it_says() -> None:
    speed = speed_of(of_seconds([0.05] * 8))
    latency = speed["latency_ms"]
    assert (latency.low, latency.value, latency.high) == pytest.approx((50, 50, 50))
    assert (latency.unit, latency.samples) == ("ms", 16)
    assert speed["throughput"].value == pytest.approx(4 / 0.1)
    assert speed["throughput"].samples == 8
    assert speed["tokens_per_second"].value == pytest.approx((5 + 6) / 0.1)
    assert speed["latency_p99_ms"].value == pytest.approx(50)


def test_throughputs_of_replicas_add_up() -> None:
    single = speed_of(of_seconds([0.05] * 8))
    pairs = Timing(blocks=[[block(), block()]] * 8, **sized(REQUESTS, 8))
    double = speed_of(pairs)
    assert double["throughput"].value == pytest.approx(2 * single["throughput"].value)
    assert double["latency_ms"].value == single["latency_ms"].value


def test_a_block_of_many_passes_counts_them_all() -> None:
    turns = [block(0.05, passes=passes) for passes in (1, 2, 5, 3)]
    speed = speed_of(timing_of(turns))
    assert speed["throughput"].value == pytest.approx(40)
    assert speed["latency_ms"].samples == 22


def test_without_text_there_are_no_tokens() -> None:
    images: list[Inputs] = [{"pixel_values": np.ones((3, 3, 8, 8))}]
    assert items_of(images[0]) == 3
    assert tokens_of(images[0]) is None
    assert "tokens_per_second" not in speed_of(timing_of([block()] * 8, requests=images))


def test_figures_cover_the_choice_of_the_timed_items() -> None:
    """Times do not vary from turn to turn, but from text to text: other texts take other times."""
    seconds = np.random.default_rng(0).lognormal(-3, 0.5, size=(1, 40))
    turns = [Block(request_s=seconds, cpu_s=1.0, wait_s=0.0)] * 8
    speed = speed_of(timing_of(turns))
    error = float(seconds.std(ddof=1) / np.sqrt(40) / seconds.mean())
    rate, latency = speed["throughput"], speed["latency_ms"]
    assert np.log(rate.high / rate.value) == pytest.approx(2.02 * error, rel=0.01)
    assert latency.low < latency.value < latency.high
    assert speed["latency_p90_ms"].samples == 40  # each counts once, however often it was timed
    assert np.isfinite(speed["latency_p90_ms"].high)
    assert np.isinf(speed["latency_p99_ms"].high)


def test_quantiles_enclose_their_value() -> None:
    random = np.random.default_rng(1)
    turns = [
        Block(request_s=random.lognormal(-3, 0.3, (50, 2)), cpu_s=1.0, wait_s=0.0) for _ in range(3)
    ]
    speed = speed_of(timing_of(turns))
    for name in ("latency_p90_ms", "latency_p99_ms"):
        found = speed[name]
        assert found.low <= found.value <= found.high
    assert speed["latency_p90_ms"].value < speed["latency_p99_ms"].value
