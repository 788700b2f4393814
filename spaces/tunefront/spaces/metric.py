"""Metrics: name, unit, direction and scale."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["minimize", "maximize"]


Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric that trials are compared by.

    Attributes:
        name: Its key in files and records.
        unit: Its unit; empty for pure numbers.
        direction: Whether lower or higher values are better.
        summary: One-line description.
        scale: `linear` if the metric is the mean of its items, `log` if it is exp of that mean.
    """

    name: str
    unit: str
    direction: Direction
    summary: str
    scale: Scale = "linear"
