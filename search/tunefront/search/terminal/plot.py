"""Points drawn with letters: positions, axes, marks. Knows nothing of trials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

PLOT_WIDTH, HEIGHT = 60, 15
"""Of the field that points lie in, in characters."""
WIDE = 8.0
"""The ratio of the greatest to the least figure from which on an axis is logarithmic."""

AXIS_DIGITS = range(3, 8)
"""Of a figure, from the fewest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One direction of a plot.

    Attributes:
        low: The least figure, at the first cell.
        high: The greatest, at the last cell; equal to `low` where there is only one figure.
        cells: How many cells there are.
    """

    low: float
    high: float
    cells: int

    @classmethod
    def over(cls, values: Sequence[float], cells: int) -> "Axis":
        """The axis on which all of these lie."""
        return cls(low=min(values), high=max(values), cells=cells)

    @property
    def log(self) -> bool:
        """Whether equal steps are equal ratios."""
        return self.low > 0 and self.high / self.low >= WIDE

    def cell(self, value: float) -> int:
        """The cell of a figure, from 0; the middle one where there is only one figure."""
        if self.high == self.low:
            return self.cells // 2
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return round((at - low) / (high - low) * (self.cells - 1))

    def value(self, cell: int) -> float:
        """The figure in the middle of a cell."""
        share = cell / (self.cells - 1)
        if self.log:
            return self.low * math.exp(share * math.log(self.high / self.low))
        return self.low + (self.high - self.low) * share

    def ticks(self) -> list[int]:
        """The cells that are named: both ends and the middle."""
        if self.high == self.low:
            return [self.cells // 2]
        return [0, self.cells // 2, self.cells - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point; of two in one cell the later one is seen.

    Attributes:
        x: To the right.
        y: Upwards.
        mark: One character.
        name: What stands beside it where there is room; nothing where empty.
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
    """Lines of a plot: its field is `width` times `height` characters.

    Args:
        points: At least one; drawn in their order, named in the opposite one.
        x_title: Below the axis.
        y_title: Above the field.
        width: Cells of the field from left to right.
        height: Cells of the field from bottom to top.
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
    lines.append(" " * (margin + 2) + _figures(across).rstrip())
    title = f"{x_title}{', log scale' if across.log else ''}"
    return [*lines, f"{title:>{margin + 2 + width}}"]


def short(value: float, digits: int = 3) -> str:
    """A figure in so many digits, with separators where it is large."""
    return f"{value:,.{max(0, digits - 4)}f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def _named(axis: Axis) -> dict[int, str]:
    """The figures of the cells that are named, in as many digits as tell them apart."""
    ticks = axis.ticks()
    texts = [[short(axis.value(cell), digits) for cell in ticks] for digits in AXIS_DIGITS]
    apart = (text for text in texts if len(set(text)) == len(ticks))
    return dict(zip(ticks, next(apart, texts[-1]), strict=True))


def _name(field: list[list[str]], row: int, cell: int, name: str) -> None:
    """Write a name beside a cell, above or below it: the first place where nothing else stands."""
    if not name:
        return
    middle = cell - len(name) // 2
    for beside, start in ((row, cell + 1), (row, cell - len(name)), (row + 1, middle),
                          (row - 1, middle)):  # fmt: skip
        end = start + len(name)
        if not 0 <= beside < len(field) or start < 0 or end > len(field[beside]):
            continue
        # A blank on either side keeps it apart from others; its own mark may touch it.
        first = start if beside == row and start == cell + 1 else max(0, start - 1)
        last = end if beside == row and end == cell else end + 1
        if all(letter == " " for letter in field[beside][first:last]):
            field[beside][start:end] = name
            return


def _ruler(axis: Axis) -> str:
    named = axis.ticks()
    return "".join("+" if cell in named else "-" for cell in range(axis.cells))


def _figures(axis: Axis) -> str:
    """The figures below their ticks, the outer ones within the field."""
    row = [" "] * axis.cells
    for cell, text in _named(axis).items():
        start = min(max(0, cell - len(text) // 2), axis.cells - len(text))
        row[start : start + len(text)] = text
    return "".join(row)
