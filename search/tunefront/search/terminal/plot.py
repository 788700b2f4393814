"""Scatter plots in characters: positions, axes and marks; independent of trials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.evaluators.statistics.formatting import number_text

PLOT_WIDTH, HEIGHT = 60, 15
"""Default size of the plot area in characters."""
WIDE = 8.0
"""Ratio of the largest to the smallest value from which on an axis is logarithmic."""

AXIS_DIGITS = range(3, 8)
"""Numbers of significant digits of axis labels, tried in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of a plot.

    Attributes:
        low: The smallest value, at the first cell.
        high: The largest value, at the last cell; equal to `low` if there is only one value.
        cells: Number of cells.
    """

    low: float
    high: float
    cells: int

    @classmethod
    def over(cls, values: Sequence[float], cells: int) -> "Axis":
        """Return the axis that spans the values."""
        return cls(low=min(values), high=max(values), cells=cells)

    @property
    def log(self) -> bool:
        """Whether the axis is logarithmic."""
        return self.low > 0 and self.high / self.low >= WIDE

    def cell(self, value: float) -> int:
        """Return the cell of a value, counted from 0; the middle one if there is only one value."""
        if self.high == self.low:
            return self.cells // 2
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return round((at - low) / (high - low) * (self.cells - 1))

    def value(self, cell: int) -> float:
        """Return the value at the middle of a cell."""
        share = cell / (self.cells - 1)
        if self.log:
            return self.low * math.exp(share * math.log(self.high / self.low))
        return self.low + (self.high - self.low) * share

    def ticks(self) -> list[int]:
        """Return the labelled cells: both ends and the middle."""
        if self.high == self.low:
            return [self.cells // 2]
        return [0, self.cells // 2, self.cells - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point; of two points in one cell the later one is visible.

    Attributes:
        x: Horizontal value, increasing to the right.
        y: Vertical value, increasing upwards.
        mark: One character.
        name: Label next to the point, omitted if there is no room; empty for none.
    """

    x: float
    y: float
    mark: str
    name: str = ""


def plot(
    points: Sequence[Point],
    x_title: str,
    y_title: str,
    width: int = PLOT_WIDTH,
    height: int = HEIGHT,
) -> list[str]:
    """Draw a plot and return its lines; the plot area is `width` times `height` characters.

    Args:
        points: At least one point; drawn in order, labelled in reverse order.
        x_title: Title below the horizontal axis.
        y_title: Title above the plot area.
        width: Columns of the plot area.
        height: Rows of the plot area.
    """
    across = Axis.over([point.x for point in points], width)
    up = Axis.over([point.y for point in points], height)
    field = [[" "] * width for _ in range(height)]
    for point in points:
        field[up.cell(point.y)][across.cell(point.x)] = point.mark
    for point in reversed(points):
        _name(field, up.cell(point.y), across.cell(point.x), point.name)
    named = _named(up)
    margin = max(map(len, named.values()))
    lines = [f"{y_title}{', log scale' if up.log else ''}"]
    for cell in reversed(range(height)):
        edge = "+" if cell in named else "|"
        lines.append(f"{named.get(cell, ''):>{margin}} {edge}{''.join(field[cell])}".rstrip())
    lines.append(" " * (margin + 2) + _ruler(across))
    lines.append(" " * (margin + 2) + _tick_labels(across).rstrip())
    title = f"{x_title}{', log scale' if across.log else ''}"
    return [*lines, f"{title:>{margin + 2 + width}}"]


def _named(axis: Axis) -> dict[int, str]:
    """Return the labels by cell, with the fewest digits that make them distinct."""
    ticks = axis.ticks()
    texts = [
        [number_text(axis.value(cell), digits=digits) for cell in ticks] for digits in AXIS_DIGITS
    ]
    apart = (text for text in texts if len(set(text)) == len(ticks))
    return dict(zip(ticks, next(apart, texts[-1]), strict=True))


def _name(field: list[list[str]], row: int, cell: int, name: str) -> None:
    """Write a label at the first free place: right, left, above or below its cell."""
    if not name:
        return
    middle = cell - len(name) // 2
    for line, start in ((row, cell + 1), (row, cell - len(name)), (row + 1, middle),
                          (row - 1, middle)):  # fmt: skip
        end = start + len(name)
        if not 0 <= line < len(field) or start < 0 or end > len(field[line]):
            continue
        # Require a blank on each side except next to the point's own mark.
        first = start if line == row and start == cell + 1 else max(0, start - 1)
        last = end if line == row and end == cell else end + 1
        if all(letter == " " for letter in field[line][first:last]):
            field[line][start:end] = name
            return


def _ruler(axis: Axis) -> str:
    named = axis.ticks()
    return "".join("+" if cell in named else "-" for cell in range(axis.cells))


def _tick_labels(axis: Axis) -> str:
    """Return the line of labels below the ticks, shifted so that the outer ones fit."""
    row = [" "] * axis.cells
    for cell, text in _named(axis).items():
        start = min(max(0, cell - len(text) // 2), axis.cells - len(text))
        row[start : start + len(text)] = text
    return "".join(row)
