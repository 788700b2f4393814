"""The capacity of a server, found with few probes of a simulated one."""

import math

import numpy as np
import pytest

from tunefront.evaluators.statistics.capacity_bisection import (
    KEPT,
    MOST_PROBES,
    CapacityProbe,
    capacity_interval,
    next_level,
    precise,
)
from tunefront.evaluators.statistics.dependence import autocorrelation_time

from .queueing import BATCHES, QUEUE, WAITING, Server, search

RUNS = 10
"""Searches of each server here; docs/decisions.md has the figures of 200."""


@pytest.mark.parametrize(
    ("server", "noise", "error", "width"),
    [(WAITING, 0.03, 0.05, 0.12), (QUEUE, 0.05, 0.05, 0.12), (BATCHES, 0.05, 0.10, 0.18)],
)
def test_the_interval_covers_the_capacity_and_is_narrow(
    server: Server, noise: float, error: float, width: float
) -> None:
    """With 95 % coverage fewer than 8 of 10 are covered in 1 of 90 cases; seeds are fixed.

    A speed that differs by 5 % changes the capacity of `BATCHES` by 20 %.
    """
    found = [search(server, 1000, noise, seed) for seed in range(RUNS)]
    assert all(len(probes) <= MOST_PROBES for probes, _ in found)
    intervals = np.array([interval for _, interval in found])
    value, low, high = intervals.T
    assert ((low <= server.capacity) & (server.capacity <= high)).sum() >= 8
    errors = np.abs(np.log(value / server.capacity))
    assert np.median(errors) < error
    assert np.median(np.log(high / low)) / 2 < width  # not bought by wide intervals


@pytest.mark.parametrize("server", [WAITING, QUEUE, BATCHES])
def test_the_capacities_of_the_servers_are_right(server: Server) -> None:
    """A long run at the capacity: within 2 % of the rate, by the slope of at least 8 there."""
    share = server.share(server.capacity, 40_000, seed=7)
    assert math.log(share / (1 - share)) == pytest.approx(math.log(KEPT / (1 - KEPT)), abs=0.35)


def probe(level: float, share: float, independent: float = 100.0) -> CapacityProbe:
    return CapacityProbe(level=level, share=share, independent=independent)


def test_the_first_probe_is_the_start_and_the_next_one_moves_to_the_capacity() -> None:
    assert next_level([], 4.0) == 4.0
    up = next_level([probe(4.0, 1.0)], 4.0)
    assert 4.5 < up < 12
    down = next_level([probe(4.0, 0.1)], 4.0)
    assert 1.5 < down < 3.9
    between = next_level([probe(4.0, 1.0), probe(8.0, 0.2)], 4.0)
    assert 4.2 < between < 7.5


def test_probes_that_all_broke_the_slo_are_followed_by_a_lower_load() -> None:
    broken = [probe(9.0, 0.94), probe(8.9, 0.93), probe(8.8, 0.94)]
    low = next_level(broken, 9.0)
    assert low < 0.95 * next_level(broken[:2], 9.0)
    assert next_level([*broken, probe(low, 1.0)], 9.0) > low


def test_loads_that_are_all_kept_do_not_grow_without_bounds() -> None:
    probes = [probe(4.0, 1.0)]
    for _ in range(MOST_PROBES - 1):
        level = next_level(probes, 4.0)
        assert level < 2 * probes[-1].level
        probes.append(probe(level, 1.0))


def test_without_a_probe_that_kept_the_slo_there_is_no_capacity() -> None:
    assert capacity_interval([probe(4.0, 0.5), probe(2.0, 0.94)], 4.0) is None
    assert not precise(None)


def test_if_all_probes_kept_it_the_capacity_is_at_least_the_highest_load() -> None:
    found = capacity_interval([probe(4.0, 1.0), probe(9.0, 0.99)], 4.0)
    assert found is not None
    value, low, high = found
    assert (value, high) == (9.0, math.inf)
    assert 4.0 < low <= 9.0
    assert not precise(found)


def test_many_probes_of_a_steep_boundary_are_precise() -> None:
    steep = {9.0: 0.9995, 9.7: 0.986, 9.9: 0.966, 10.1: 0.93, 10.3: 0.86, 11.0: 0.27}
    found = capacity_interval([probe(r, s, 4000.0) for r, s in steep.items()], 10.0)
    assert found is not None
    assert 9.8 < found[1] < 10.0 < found[2] < 10.2
    assert precise(found)


def test_slow_fluctuations_of_random_arrivals_lower_the_capacity() -> None:
    """A probe has its exact rate; a stationary load fluctuates, the more the fewer requests."""
    rates = [(9.0, 0.99), (10.0, 0.95), (11.0, 0.85)]
    few, many, closed = (
        capacity_interval(
            [CapacityProbe(level=r, share=s, independent=500.0, requests=n) for r, s in rates], 10.0
        )
        for n in (100, 10_000, 0)
    )
    assert few is not None
    assert many is not None
    assert closed is not None
    assert few[0] < many[0] < closed[0]
    assert many[0] == pytest.approx(closed[0], rel=0.01)


def test_a_probe_counts_the_requests_that_keep_all_limits() -> None:
    ratios = np.array([0.5, 1.0, 1.01, math.inf] * 25)
    found = CapacityProbe.of(3.0, ratios, 100)
    assert (found.level, found.share, found.requests) == (3.0, 0.5, 100)
    assert 1 <= found.independent <= 100


def test_alike_neighbours_are_worth_fewer_requests() -> None:
    random = np.random.default_rng(0)
    separate = np.exp(random.normal(size=600) - 1)
    alike = np.repeat(separate[:30], 20)
    assert CapacityProbe.of(1.0, separate).independent > 400
    assert CapacityProbe.of(1.0, alike).independent < 60


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_autocorrelation_time_of_a_first_order_process(correlation: float) -> None:
    random = np.random.default_rng(1)
    values = [0.0]
    for step in random.normal(size=20_000):
        values.append(correlation * values[-1] + step)
    wanted = (1 + correlation) / (1 - correlation)
    assert autocorrelation_time(np.array(values)) == pytest.approx(wanted, rel=0.15)


def test_the_autocorrelation_time_of_constant_or_few_values_is_one() -> None:
    assert autocorrelation_time(np.ones(100)) == 1.0
    assert autocorrelation_time(np.arange(4.0)) == 1.0
