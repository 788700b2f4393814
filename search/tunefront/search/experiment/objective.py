"""Objectives and limits: metrics with a direction, metrics with a bound."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tunefront.evaluators import (
    Direction,
    Evaluation,
    Measurement,
    Metric,
    MetricKind,
    paired_change,
)
from tunefront.evaluators.interfaces.polled.capacity import NOT_OF_EVERY_TRIAL
from tunefront.evaluators.statistics.formatting import number_text
from tunefront.evaluators.statistics.paired_quality import SMALLEST_LEVEL, is_near_zero
from tunefront.spaces import ExperimentError, show
from tunefront.spaces.metric import LEVEL_SIGN, timed_kind

from .metrics import QUALITY_DROP

BOUND_DIGITS = 6
"""Significant digits of a bound, which a user has written."""
Bound = Literal["<=", ">="]
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}
_LIMIT = re.compile(r"\s*(<=|>=)\s*([-+\d.eE]+)\s*(%?)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A metric to minimise or maximise.

    Attributes:
        metric: Name of the metric.
        direction: Whether lower or higher values are better.
        kind: Kind of the metric.
    """

    metric: str
    direction: Direction
    kind: MetricKind = field(default="quality", compare=False)

    @property
    def timed(self) -> bool:
        """Whether the metric is computed from timed requests, so that further turns change it."""
        return timed_kind(self.kind)

    @property
    def sign(self) -> float:
        """Factor that makes lower better: 1 for minimize, -1 for maximize."""
        return 1.0 if self.direction == "minimize" else -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound that a metric must keep.

    Attributes:
        metric: Name of the metric.
        test: Comparison of value and bound, `<=` or `>=`.
        bound: The bound, in the metric's unit.
        kind: Kind of the metric.
    """

    metric: str
    test: Bound
    bound: float
    kind: MetricKind = field(default="quality", compare=False)

    @property
    def timed(self) -> bool:
        """Whether the metric is computed from timed requests, so that further turns change it."""
        return timed_kind(self.kind)

    @property
    def sign(self) -> float:
        """Factor that makes lower better: 1 for `<=`, -1 for `>=`."""
        return 1.0 if self.test == "<=" else -1.0

    def kept(self, value: float) -> bool:
        """Return whether the value keeps the limit."""
        return _COMPARE[self.test](value, self.bound)

    def certain(self, measurement: Measurement) -> bool:
        """Return whether the whole interval of the measurement keeps the limit."""
        return self.kept(measurement.low) and self.kept(measurement.high)

    def violation(self, value: float) -> float:
        """Return how far the value exceeds the bound, in the metric's unit; <= 0 if it is kept."""
        return value - self.bound if self.test == "<=" else self.bound - value

    @property
    def text(self) -> str:
        """The limit for people, without unit: `throughput >= 1,000,000`."""
        return f"{self.metric} {self.test} {number_text(self.bound, digits=BOUND_DIGITS)}"

    def __str__(self) -> str:
        """Return the limit as records name it."""
        return f"{self.metric} {self.test} {show(self.bound)}"

    @classmethod
    def parse(cls, metric: Metric, written: object) -> "Limit":
        """Parse `"<= 12"` or, for metrics in percent, `"<= 1%"`.

        Raises:
            ExperimentError: If the text has another form, the unit does not fit, or the bound is
                not a finite number. If only finalists have the metric.
        """
        _check_of_every_trial(metric)
        match = _LIMIT.fullmatch(written) if isinstance(written, str) else None
        if match is None:
            raise ExperimentError(
                f"a limit is written '<= NUMBER' or '>= NUMBER', but got {written!r}"
            )
        test, number, percent = match.groups()
        if percent and metric.unit != "%":
            raise ExperimentError(
                f"{metric.name} is in {metric.unit or 'plain numbers'}, not in percent; "
                f"write '{test} {number}'"
            )
        try:
            bound = float(number)
        except ValueError as error:
            raise ExperimentError(f"{number!r} is not a number") from error
        if not math.isfinite(bound):
            raise ExperimentError(f"a finite bound is needed, but got {number}")
        found = cls(
            metric=metric.name,
            test="<=" if test == "<=" else ">=",
            bound=bound,
            kind=metric.kind,
        )
        _check_bound(metric, found)
        return found

    @classmethod
    def parse_expression(cls, text: str, metrics: Mapping[str, Metric]) -> "Limit":
        """Parse `"latency_ms<=12"`, the form used on the command line.

        Raises:
            ExperimentError: If the metric is unknown, or `parse` rejects the rest.
        """
        match = re.match(rf"\s*(\w+(?:{LEVEL_SIGN}[\d.]+)?)", text)
        name = match[1] if match else text
        if match is None or name not in metrics:
            from tunefront.spaces import did_you_mean

            raise ExperimentError(f"limit: unknown metric {name!r}{did_you_mean(name, metrics)}")
        if not _LIMIT.fullmatch(rest := text[match.end() :]):
            raise ExperimentError(
                f"limit: '{name}<=NUMBER' or '{name}>=NUMBER' is needed, but got {text!r}"
            )
        return cls.parse(metrics[name], rest)


def check_direction(metric: Metric, direction: Direction) -> None:
    """Raise ExperimentError for an objective that few trials have, or against its direction."""
    _check_of_every_trial(metric)
    if direction != metric.direction:
        better = "higher" if metric.direction == "maximize" else "lower"
        raise ExperimentError(
            f"{direction} contradicts the metric, of which {better} values are better; write "
            f"{metric.direction}"
        )


def _check_of_every_trial(metric: Metric) -> None:
    """Raise ExperimentError for a metric that only finalists have."""
    if metric.finalists_only:
        raise ExperimentError(NOT_OF_EVERY_TRIAL)


def _check_bound(metric: Metric, limit: Limit) -> None:
    """Raise ExperimentError for a limit that only keeps bad values, or that decides nothing."""
    right = "<=" if metric.direction == "minimize" else ">="
    if limit.test != right:
        better = "higher" if metric.direction == "maximize" else "lower"
        raise ExperimentError(
            f"{limit.test} {show(limit.bound)} refuses the better values: {better} {metric.name} "
            f"is better; write '{right} NUMBER'"
        )
    best, worst = metric.range if right == "<=" else metric.range[::-1]
    if not limit.kept(best):
        raise ExperimentError(f"no value can keep {limit}: {metric.name} is {_range_text(metric)}")
    if limit.kept(worst):
        raise ExperimentError(
            f"every value keeps {limit}: {metric.name} is {_range_text(metric)}; remove the limit"
        )


def _range_text(metric: Metric) -> str:
    low, high = metric.range
    if math.isinf(high):
        return f"at least {show(low)}"
    return f"between {show(low)} and {show(high)}"


def has_level(primary: Metric, evaluation: Evaluation) -> bool:
    """Return whether the primary metric differs from 0, so that a share of it is meaningful."""
    items = np.array(evaluation.items)
    if items.shape[1] > 1:
        return not is_near_zero(items, primary.scale)
    return not abs(evaluation.measurements[primary.name].value) < SMALLEST_LEVEL


def quality_drop(primary: Metric, own: Evaluation, baseline: Evaluation) -> Measurement:
    """Return the loss of the primary metric relative to the baseline, in percent.

    The comparison is paired item by item. If the items cannot be paired, the interval assumes
    independent errors of both values. The baseline must have a level (`has_level`).
    """
    sign = 100.0 if primary.direction == "minimize" else -100.0
    pair = np.array(own.items), np.array(baseline.items)
    if pair[0].shape == pair[1].shape and pair[0].shape[1] > 1:
        change, low, high = paired_change(*pair, primary.scale)
    else:
        value, base = own.measurements[primary.name], baseline.measurements[primary.name]
        scale = abs(base.value)
        change = (value.value - base.value) / scale
        half = math.hypot(value.high - value.low, base.high - base.low) / 2 / scale
        low, high = change - half, change + half
    ends = sorted((sign * low, sign * high))
    return Measurement(
        value=sign * change + 0.0,
        unit=QUALITY_DROP.unit,
        low=ends[0],
        high=ends[1],
        samples=pair[0].shape[-1],
    )
