"""Metrics: name, unit, direction, kind, and how a metric depends on the speed-up."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Direction = Literal["minimize", "maximize"]


Scale = Literal["linear", "log"]


MetricKind = Literal["speed", "memory", "quality", "energy", "cost", "training"]


Follows = Literal["rate", "time", "none"]


Occupies = Literal["host", "gpu", "none"]


LEVEL_SIGN = "@"
"""Stands between the name of a metric and the load level that it is measured at."""


FINALISTS_ONLY = "is measured for finalists only"
"""Why a metric can't be an objective or a limit, which need a value of every trial."""


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
            workload measures at most one such metric at each load level.
        occupies: Memory that a running candidate occupies by this much: of the `host`, of a `gpu`,
            or `none`. Candidates run at the same time only if these fit together.
        lowest: The smallest possible value; None if it is not known (0 for all but quality and
            training).
        highest: The largest possible value; None if there is none.
        percentile: The share of the requests that have a smaller value; None if it is no
            percentile of requests above the median.
        level: The load level that it is measured at, if there are several; see `at_level`.
        finalists_only: Whether it is measured only for the finalists, after their confirmation.
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
    level: str = ""
    finalists_only: bool = False

    @property
    def plain_name(self) -> str:
        """The name without the load level."""
        return self.name.removesuffix(LEVEL_SIGN + self.level) if self.level else self.name

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


def at_level(metric: Metric, level: str) -> Metric:
    """Return a metric as it is measured at one of several load levels: `ttft_ms@4`.

    Args:
        metric: The metric.
        level: Name of the level; empty if there is only one, of which names stay plain.
    """
    if not level:
        return metric
    name, summary = f"{metric.name}{LEVEL_SIGN}{level}", f"{metric.summary}, at load {level}"
    return replace(metric, name=name, summary=summary, level=level)


def reference_rate(metrics: Iterable[Metric], level: str = "") -> Metric | None:
    """Return the metric that speed-ups are taken of; None if there is none.

    Args:
        metrics: The metrics.
        level: The load level; empty for the highest one.
    """
    rates = [m for m in metrics if m.reference_rate and level in ("", m.level)]
    return max(rates, key=lambda rate: float(rate.level or 0), default=None)


def first_of_kind(metrics: Iterable[Metric], kind: MetricKind) -> Metric | None:
    """Return the first metric of a kind; None if there is none."""
    return next((metric for metric in metrics if metric.kind == kind), None)
