"""Dominance, hypervolume, ties and knee against brute force."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.search.front.pareto import (
    Costs,
    hypervolume,
    indistinguishable,
    knee,
    nondominated,
    normalised,
)

GRID = 4


def grids(least: int = 0) -> st.SearchStrategy[Costs]:
    """Up to eight rows of one to four whole costs: many ties, many equal rows."""
    return st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, GRID - 1), min_size=width, max_size=width),
            min_size=least,
            max_size=8,
        ).map(lambda rows: np.array(rows, dtype=np.float64).reshape(len(rows), width))
    )


def dominates(one: Costs, other: Costs) -> bool:
    return bool((one <= other).all() and (one < other).any())


@given(grids())
def test_the_front_is_what_no_other_row_dominates(costs: Costs) -> None:
    expected = [not any(dominates(other, row) for other in costs) for row in costs]
    assert nondominated(costs).tolist() == expected


@given(grids(least=1))
def test_something_is_always_on_the_front(costs: Costs) -> None:
    assert nondominated(costs).any()


def test_equal_rows_beat_neither_of_each_other() -> None:
    assert nondominated(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])).tolist() == [
        True,
        True,
        False,
    ]


def test_a_front_of_nothing_is_empty() -> None:
    assert nondominated(np.empty((0, 2))).shape == (0,)


@given(grids())
def test_the_hypervolume_is_the_number_of_cells_dominated(costs: Costs) -> None:
    width = costs.shape[1]
    reference = np.full(width, GRID - 1.0)
    cells = product(range(GRID - 1), repeat=width)
    dominated = sum(any((row <= cell).all() for row in costs) for cell in cells)
    assert hypervolume(costs, reference) == pytest.approx(dominated)


def test_what_lies_beyond_the_reference_adds_no_volume() -> None:
    reference = np.array([2.0, 2.0])
    assert hypervolume(np.array([[0.0, 2.0], [3.0, 0.0]]), reference) == 0
    assert hypervolume(np.array([[1.0, 1.0], [0.0, 9.0]]), reference) == 1


@given(grids(least=1))
def test_normalised_costs_run_from_best_to_worst(costs: Costs) -> None:
    scaled = normalised(costs)
    assert scaled.shape == costs.shape
    constant = (costs == costs[0]).all(axis=0)
    assert (scaled.min(axis=0) == 0).all()
    assert (scaled.max(axis=0) == np.where(constant, 0.0, 1.0)).all()
    assert (
        np.argsort(scaled, axis=0, kind="stable") == np.argsort(costs, axis=0, kind="stable")
    ).all()


@given(grids(least=1), st.integers(1, 1000), st.integers(-1000, 1000))
def test_the_knee_does_not_depend_on_units(costs: Costs, scale: int, shift: int) -> None:
    assert knee(costs) == knee(costs * scale + shift)


def test_the_knee_is_nearest_to_the_best_of_everything() -> None:
    assert knee(np.array([[0.0, 100.0], [2.0, 20.0], [10.0, 0.0]])) == 1


def test_the_knee_of_one_row_is_that_row() -> None:
    assert knee(np.array([[3.0, 4.0]])) == 0


def ends(*rows: tuple[float, float, float]) -> tuple[Costs, Costs, Costs]:
    """Values of one objective, and lower and upper ends of their intervals."""
    low, middle, high = np.array(rows).T[:, :, None]
    return middle, low, high


def pairs(middle: Costs, low: Costs, high: Costs) -> npt.NDArray[np.bool_]:
    """Which rows tied with which, `(trials, trials)`."""
    return np.stack([indistinguishable(middle, low, high, row) for row in range(len(low))])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((1.0, 2.0, 3.0), (2.0, 2.5, 3.0), True),
        ((1.0, 2.0, 3.0), (2.0, 3.0, 4.0), True),
        ((1.0, 2.0, 3.0), (2.0, 3.1, 4.2), False),
        # The worse one's interval says nothing of likeness, however wide.
        ((1.9, 2.0, 2.1), (0.0, 4.0, 8.0), False),
        ((0.0, 4.0, 8.0), (1.9, 2.0, 2.1), False),
        # The better one's does, open ones included.
        ((0.0, 2.0, 8.0), (3.9, 4.0, 4.1), True),
        ((0.0, 2.0, np.inf), (3.9, 4.0, 4.1), True),
        ((100.0,) * 3, (101.0,) * 3, True),
        ((100.0,) * 3, (102.0,) * 3, False),
        ((-100.0,) * 3, (-101.0,) * 3, True),
        ((0.0,) * 3, (0.0,) * 3, True),
        ((0.0,) * 3, (1e-9,) * 3, False),
    ],
)
def test_values_tie_where_the_worse_lies_within_the_interval_of_the_better_or_within_a_percent(
    one: tuple[float, float, float], other: tuple[float, float, float], same: bool
) -> None:
    found = pairs(*ends(one, other))
    assert found.tolist() == [[True, same], [same, True]]


def test_rows_apart_in_one_objective_are_apart() -> None:
    low = np.array([[1.0, 1.0], [1.0, 5.0], [1.0, 1.0]])
    assert pairs(low, low, low + 1.0).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]


@given(grids(least=1), st.integers(0, 2))
def test_ties_are_mutual_and_everything_ties_with_itself(costs: Costs, half: int) -> None:
    found = pairs(costs, costs - half, costs + half)
    assert (found == found.T).all()
    assert found.diagonal().all()
    for i, j in product(range(len(costs)), repeat=2):
        near = np.abs(costs[i] - costs[j]) <= np.maximum(
            half, 0.01 * np.maximum(costs[i], costs[j])
        )
        assert found[i, j] == near.all()
