"""The smallest change that items can show: against the intervals of simulated candidates."""

import math

import numpy as np
import pytest

from tunefront.evaluators import QualitySample, paired_change, quality_sample
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.quality_sample import CHANGED, CHANGING, MOST_ITEMS


def stacked(values: Array, weights: Array | None = None) -> Array:
    return np.stack([values, np.ones_like(values) if weights is None else weights])


def hits(count: int, share: float) -> Array:
    return stacked((np.arange(count) < round(share * count)).astype(np.float64))


def sample_of(items: Array, scale: str = "linear") -> QualitySample:
    found = quality_sample(items, "log" if scale == "log" else "linear")
    assert found is not None
    return found


@pytest.mark.parametrize("count", [48, 200, 1000])
def test_it_is_the_half_width_for_hits_and_misses_that_change(count: int) -> None:
    """One in twenty changes, either way: the median of 300 intervals is within 10 %."""
    random = np.random.default_rng(count)
    base, halves = hits(count, 0.6), np.zeros(300)
    for draw in range(300):
        own = base.copy()
        own[0] = np.where(random.random(count) < CHANGED, 1 - own[0], own[0])
        _, low, high = paired_change(own, base, "linear")
        halves[draw] = (high - low) / 2
    assert sample_of(base).smallest_change() == pytest.approx(float(np.median(halves)), rel=0.1)


@pytest.mark.parametrize(("scale", "level"), [("log", 3.0), ("linear", 3.0), ("linear", -3.0)])
def test_it_is_the_half_width_for_values_that_change(scale: str, level: float) -> None:
    """Values of unequal weights: the median of 300 intervals is within 10 %."""
    random = np.random.default_rng(0)
    weights = random.integers(20, 60, 64).astype(np.float64)
    base, halves = stacked(random.normal(level, 0.7, 64), weights), np.zeros(300)
    found = sample_of(base, scale)
    for draw in range(300):
        own = stacked(base[0] + random.normal(0.0, CHANGING * 0.7, 64), weights)
        _, low, high = paired_change(own, base, "log" if scale == "log" else "linear")
        halves[draw] = (high - low) / 2
    assert found.smallest_change() == pytest.approx(float(np.median(halves)), rel=0.1)


def test_48_pairs_of_which_a_third_is_found_show_a_quarter() -> None:
    found = sample_of(hits(48, 0.31))
    assert (found.items, found.evaluated, found.hits) == (48, 48, True)
    assert found.smallest_change() == pytest.approx(0.24, abs=0.005)
    assert found.needed(0.01) == pytest.approx(20_000, rel=0.05)


@pytest.mark.parametrize("items", [hits(48, 0.6), stacked(np.linspace(1.0, 2.0, 20))])
@pytest.mark.parametrize("change", [0.5, 0.05, 0.001])
def test_the_needed_number_is_the_smallest_that_suffices(items: Array, change: float) -> None:
    found = sample_of(items)
    needed = found.needed(change)
    assert found.smallest_change(needed) <= change
    assert needed == 2 or found.smallest_change(needed - 1) > change
    assert found.needed(1e-12) == MOST_ITEMS


def test_a_part_of_the_items_stands_for_all() -> None:
    items = stacked(np.random.default_rng(0).normal(3.0, 0.7, 400))
    part = items.copy()
    part[1, 100:] = 0.0
    whole, found = sample_of(items, "log"), sample_of(part, "log")
    assert (found.items, found.evaluated) == (400, 100)
    assert found.smallest_change() == pytest.approx(whole.smallest_change(), rel=0.2)
    assert found.level == pytest.approx(float(part[0, :100].mean()))


def test_what_can_not_be_told_from_0_and_what_has_no_spread() -> None:
    assert sample_of(stacked(np.array([1.0, -1.0, 0.5, -0.4]))).near_zero
    assert not sample_of(hits(10, 0.1)).near_zero
    assert sample_of(stacked(np.zeros(8))).near_zero
    assert quality_sample(stacked(np.ones(1)), "linear") is None
    assert quality_sample(stacked(np.ones(3), np.array([1.0, 0.0, 0.0])), "linear") is None
    assert math.isfinite(sample_of(stacked(np.full(5, 2.0))).smallest_change())
