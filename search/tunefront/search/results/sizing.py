"""Sizing: how many replicas of a trial a rate of requests needs under the SLO, and their price."""

import math
from dataclasses import dataclass
from typing import Any

from tunefront.evaluators import Measurement
from tunefront.evaluators.interfaces.polled.capacity import CAPACITY
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.statistics.formatting import number_text, with_interval
from tunefront.search.study.trial import Trial
from tunefront.search.text import command_text, counted, listed
from tunefront.spaces import ExperimentError

from .result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """The replicas that a rate needs; each runs the trial on a machine like that of the search.

    Attributes:
        rate: Requests a second of all replicas together.
        capacity: Requests a second that one replica answers within the SLO.
        price_per_hour: Price of a machine; None if it is not given.
    """

    rate: float
    capacity: Measurement
    price_per_hour: float | None = None

    @property
    def fewest(self) -> int:
        """Replicas if the capacity is at the upper end of its interval; 1 if that is open."""
        return self._replicas(self.capacity.high)

    @property
    def most(self) -> int:
        """Replicas if the capacity is at the lower end of its interval."""
        return self._replicas(self.capacity.low)

    def _replicas(self, capacity: float) -> int:
        return max(1, math.ceil(self.rate / capacity)) if math.isfinite(capacity) else 1

    def price(self, replicas: int) -> float | None:
        """Return what replicas cost in an hour; None without a price."""
        return None if self.price_per_hour is None else replicas * self.price_per_hour

    @property
    def text(self) -> str:
        """The replicas and their price as text."""
        fewest, most = self.fewest, self.most
        replicas = counted(most, "replica") if fewest == most else f"{fewest} to {most} replicas"
        found = (
            f"{number_text(self.rate)} requests/s need {replicas}, each with a capacity of "
            f"{with_interval(self.capacity)}"
        )
        low, high = self.price(fewest), self.price(most)
        if low is None or high is None:
            return f"{found}; with the key price_per_hour their price is shown"
        ends = number_text(high) if low == high else f"{number_text(low)} to {number_text(high)}"
        return f"{found}; they cost {ends} an hour, at {number_text(high / most)} each"

    @property
    def record(self) -> dict[str, Any]:
        """The sizing as plain JSON values."""
        return {
            "rate": self.rate,
            "replicas": [self.fewest, self.most],
            "price_per_hour": [self.price(self.fewest), self.price(self.most)],
            CAPACITY.name: to_plain(self.capacity),
        }


def sizing_of(result: Result, trial: Trial, rate: float) -> Sizing:
    """Return how many replicas of a trial a rate needs.

    Requests are spread over replicas at random or in turns, so that those of one arrive at random
    times, too.

    Args:
        result: The result of the search.
        trial: The trial, with its confirmed measurements.
        rate: Requests a second.

    Raises:
        ExperimentError: If the trial has no measured capacity in requests a second; with the next
            step.
    """
    experiment = result.experiment
    kind, found = experiment.confirmation.capacity, trial.measurements.get(CAPACITY.name)
    if kind != "rate":
        given = "is not set" if kind is None else f"is {kind}"
        raise ExperimentError(
            f"--rate needs the capacity in requests/s, but confirmation.capacity {given}; write "
            f"`confirmation: {{capacity: rate}}` in {experiment.path.name} and run "
            f"`{command_text('run', experiment.path)}` again, which measures only what is missing"
        )
    if found is None:
        raise ExperimentError(f"--rate: {_why_none(result, trial)}")
    return Sizing(rate=rate, capacity=found, price_per_hour=experiment.price_per_hour)


def _why_none(result: Result, trial: Trial) -> str:
    """Return why a trial has no capacity, and the next step."""
    searched = result.confirmation.capacities.get(trial.number)
    if searched is not None and searched.shortfall:
        return f"trial {trial.number} has no capacity: {searched.shortfall}"
    known = [t.number for t in result.trials if CAPACITY.name in t.measurements]
    if known:
        return (
            f"the capacity of trial {trial.number} was not measured, only that of {listed(known)}: "
            "the finalists on the front and the baseline; name one of these"
        )
    again = command_text("run", result.experiment.path)
    return f"no capacity was measured yet; run `{again}`, which measures it for the finalists"
