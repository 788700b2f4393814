"""A metric as a value: name, unit, direction, scale."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["minimize", "maximize"]


Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure that trials are judged by.

    Attributes:
        name: Its key in files and records.
        unit: Its unit, empty for pure numbers.
        direction: What is better.
        summary: One line for people.
        scale: `linear` where the figure is the mean of its items, `log` where it is exp of it.
    """

    name: str
    unit: str
    direction: Direction
    summary: str
    scale: Scale = "linear"
