"""Metrics: name, unit, direction, kind, and how a metric depends on the speed-up."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["minimize", "maximize"]


Scale = Literal["linear", "log"]


MetricKind = Literal["speed", "memory", "quality", "energy", "cost", "training"]


Follows = Literal["rate", "time", "none"]


Occupies = Literal["host", "gpu", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric that trials are compared by.

    Nothing else lists names of metrics: other code reads these attributes.

    Attributes:
        name: Its key in files and records.
        unit: Its unit; empty for pure numbers.
        direction: Whether lower or higher values are better.
        summary: One-line description.
        scale: `linear` if the metric is the mean of its items, `log` if it is exp of that mean.
        kind: Category: `speed`, `memory`, `quality`, `energy`, `cost` or `training`. Quality
            is measured on the same items for all trials, so its interval is no noise between them.
        follows: How it follows from the speed-up against the baseline, in value and interval:
            `rate` if it is proportional to it, `time` if it is inversely proportional, `none` if it
            has its own value and interval.
        single_reading: Whether each process is read once, so that the metric of one trial has no
            interval although another process of the same candidate would differ a little.
        reference_rate: Whether speed-ups are ratios of this metric; its `follows` is `rate`. A
            workload measures at most one such metric.
        occupies: Memory that a running candidate occupies by this much: of the `host`, of a `gpu`,
            or `none`. Candidates run at the same time only if these fit together.
        lowest: The smallest possible value; None if it is not known (0 for all but quality and
            training).
        highest: The largest possible value; None if there is none.
        percentile: The share of the requests that have a smaller value; None if it is no
            percentile of requests above the median.
    """

    name: str
    unit: str
    direction: Direction
    summary: str
    scale: Scale = "linear"
    kind: MetricKind = "quality"
    follows: Follows = "none"
    single_reading: bool = False
    reference_rate: bool = False
    occupies: Occupies = "none"
    lowest: float | None = None
    highest: float | None = None
    percentile: float | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest possible value; infinite where there is none."""
        known = 0.0 if self.kind in ("speed", "memory", "energy", "cost") else -math.inf
        return (
            known if self.lowest is None else self.lowest,
            math.inf if self.highest is None else self.highest,
        )

    @property
    def timed(self) -> bool:
        """Whether the metric is computed from timed requests, so that further turns change it."""
        return timed_kind(self.kind)


def timed_kind(kind: MetricKind) -> bool:
    """Return whether metrics of a kind are computed from timed requests."""
    return kind in ("speed", "energy", "cost")


def reference_rate(metrics: Iterable[Metric]) -> Metric | None:
    """Return the metric that speed-ups are taken of; None if there is none."""
    return next((metric for metric in metrics if metric.reference_rate), None)


def first_of_kind(metrics: Iterable[Metric], kind: MetricKind) -> Metric | None:
    """Return the first metric of a kind; None if there is none."""
    return next((metric for metric in metrics if metric.kind == kind), None)
