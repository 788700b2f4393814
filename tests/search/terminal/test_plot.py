"""Positions of points on a plot of letters, against the nearest of all cells; degenerate axes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.evaluators.statistics.formatting import number_text
from tunefront.search.terminal.plot import HEIGHT, PLOT_WIDTH, Axis, Point, plot

FIGURES = st.lists(
    st.floats(min_value=-1e6, max_value=1e6).map(lambda value: round(value, 3)),
    min_size=1,
    max_size=12,
)


def nearest(axis: Axis, value: float) -> int:
    """The cell whose own figure is nearest, by looking at all of them."""
    scale = np.log if axis.log else lambda x: x
    cells = [abs(scale(axis.value(cell)) - scale(value)) for cell in range(axis.cells)]
    return int(np.argmin(cells))


@given(FIGURES, st.integers(min_value=2, max_value=80))
def test_a_value_is_in_the_cell_whose_own_value_is_nearest(values: list[float], cells: int) -> None:
    axis = Axis.over(values, cells)
    for value in values:
        cell = axis.cell(value)
        assert 0 <= cell < cells
        if axis.high > axis.low:
            best = nearest(axis, value)
            assert abs(cell - best) <= 1, "at the border of two cells either will do"
            if cell != best:
                ends = sorted((axis.value(cell), axis.value(best)))
                assert ends[0] <= value <= ends[1]


@pytest.mark.parametrize(
    ("values", "log"),
    [([1, 7.9], False), ([1, 8], True), ([0.001, 100], True), ([0, 100], False), ([-5, 90], False)],
)
def test_an_axis_is_logarithmic_where_the_span_is_large(values: list[float], log: bool) -> None:
    assert Axis.over(values, 10).log is log


def test_equal_steps_of_a_logarithmic_axis_are_equal_ratios() -> None:
    axis = Axis.over([1, 100], 21)
    assert [axis.cell(value) for value in (1, 10, 100)] == [0, 10, 20]
    assert axis.value(10) == pytest.approx(10)


def marks(lines: list[str], width: int, height: int) -> dict[str, tuple[int, int]]:
    """Where each letter stands in the field: column from the left, row from the bottom."""
    edge = max(lines[1].find("+"), lines[1].find("|")) + 1
    field = [line[edge:].ljust(width) for line in lines[1 : height + 1]]
    return {
        letter: (column, height - 1 - row)
        for row, line in enumerate(field)
        for column, letter in enumerate(line)
        if letter.isalpha()
    }


def test_marks_stand_where_their_values_are() -> None:
    random = np.random.default_rng(3)
    points = [
        Point(x=float(x), y=float(y), mark=chr(ord("a") + place))
        for place, (x, y) in enumerate(random.uniform([1, 200], [5, 900], size=(15, 2)))
    ]
    lines = plot(points, "speed, items/s", "memory, MB", width=40, height=12)
    xs, ys = [p.x for p in points], [p.y for p in points]
    found = marks(lines, 40, 12)
    wide, high = max(xs) - min(xs), max(ys) - min(ys)
    seen = {
        (round((p.x - min(xs)) / wide * 39), round((p.y - min(ys)) / high * 11)): p.mark
        for p in points
    }
    assert found == {mark: place for place, mark in seen.items()}


def test_axes_have_values_and_titles() -> None:
    points = [Point(x=10, y=400, mark="a"), Point(x=4000, y=600, mark="b")]
    assert plot(points, "speed, items/s", "memory, MB", width=20, height=5) == [
        "memory, MB",
        "600 +                   b",
        "    |",
        "500 +",
        "    |",
        "400 +a",
        "     +---------+--------+",
        "     10       234   4,000",
        "speed, items/s, log scale",
    ]


def test_near_values_have_digits_enough_to_differ() -> None:
    points = [Point(x=1, y=277.1, mark="a"), Point(x=1, y=277.6, mark="b")]
    lines = plot(points, "x", "y", width=20, height=3)
    assert [line.split()[0] for line in lines[1:4]] == ["277.6", "277.4", "277.1"]


def test_a_name_stands_where_there_is_room_and_hides_no_mark() -> None:
    points = [
        Point(x=0, y=1, mark="a", name="001"),
        Point(x=2, y=1, mark="b", name="002"),
        Point(x=19, y=1, mark="c", name="003"),
        Point(x=10, y=0, mark="d"),
    ]
    lines = plot(points, "x", "y", width=20, height=2)
    assert lines[1].endswith("+a b002          003c"), "nothing is written over, no two touch"


def test_a_name_that_has_no_room_next_to_its_mark_stands_above_or_below_it() -> None:
    between = [Point(x=x, y=0, mark=".") for x in (9, 11)]
    points = [Point(x=0, y=2, mark="."), Point(x=20, y=-2, mark="."), *between]
    lines = plot([*points, Point(x=10, y=0, mark="a", name="012")], "x", "y", width=21, height=5)
    assert [line[3:] for line in lines[2:5]] == ["|         012", "+         .a.", "|"]


@pytest.mark.parametrize(
    ("points", "column", "row"),
    [
        ([(5.0, 7.0)], PLOT_WIDTH // 2, HEIGHT // 2),
        ([(5.0, 7.0), (5.0, 7.0)], PLOT_WIDTH // 2, HEIGHT // 2),
        ([(1.0, 7.0), (5.0, 7.0)], PLOT_WIDTH - 1, HEIGHT // 2),
        ([(0.0, 0.0)], PLOT_WIDTH // 2, HEIGHT // 2),
    ],
)
def test_one_value_lies_in_the_middle(
    points: list[tuple[float, float]], column: int, row: int
) -> None:
    lines = plot([Point(x=x, y=y, mark="a") for x, y in points], "x", "y")
    found = marks(lines, PLOT_WIDTH, HEIGHT)
    assert found["a"] == (column, row) or len(points) == 2
    rows = [line for line in lines[1 : HEIGHT + 1] if "+" in line]
    assert len(rows) == (1 if len({y for _, y in points}) == 1 else 3)
    one_x = len({x for x, _ in points}) == 1
    assert lines[-2].split() == ([number_text(points[0][0])] if one_x else ["1", "3.03", "5"])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_plot_fits_eighty_columns(scale: float) -> None:
    random = np.random.default_rng(0)
    points = [
        Point(x=float(x), y=float(y), mark="o", name="123")
        for x, y in scale * random.normal(size=(60, 2))
    ]
    assert max(map(len, plot(points, "x" * 60, "y" * 70))) <= 80
