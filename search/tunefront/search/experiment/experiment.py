"""The experiment: a validated and resolved experiment file."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tunefront.evaluators import (
    Metric,
    Protocol,
    Timeouts,
    WorkloadSpec,
    first_of_kind,
    quality_metrics,
    reference_rate,
)
from tunefront.spaces import (
    Configuration,
    SearchSpace,
)

from .document import slug_of
from .local_time import next_time, seconds_between
from .objective import Limit, Objective
from .references import ReferenceConfiguration
from .schema import ConfirmationSection


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Budget of a search; the search ends when the first given bound is reached.

    Attributes:
        trials: Number of trials, including the baseline.
        hours: Hours over all runs, including confirmation.
        until: Time of day, or date and time, at which the result is due.
        least_gain: Smallest expected gain, as a share of the front's hypervolume; the search ends
            if it is missed several times in a row. Needs a sampler that predicts.
    """

    trials: int | None
    hours: float | None
    until: str | None = None
    least_gain: float | None = None

    @property
    def deadline_text(self) -> str:
        """The settings that bound the time: `budget.hours 8 or budget.until 07:00`, or empty."""
        hours = f"budget.hours {self.hours:g}" if self.hours is not None else ""
        until = f"budget.until {self.until}" if self.until is not None else ""
        return " or ".join(filter(None, (hours, until)))

    def seconds(self, spent_s: float, now: datetime) -> float | None:
        """Return the seconds left, at least 0; None if there is no bound on time.

        Args:
            spent_s: Seconds spent by earlier runs.
            now: The local time.
        """
        bounds = []
        if self.hours is not None:
            bounds.append(self.hours * 3600 - spent_s)
        if self.until is not None:
            bounds.append(seconds_between(now, next_time(self.until, now)))
        return max(0.0, min(bounds)) if bounds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """A script that creates model and data once.

    Attributes:
        script: The user's script; it is called with the folder to fill.
        folder: Folder in which its output is cached.
    """

    script: Path
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A validated experiment.

    Attributes:
        name: Name of the search; a quick check has the suffix ` (smoke)`.
        path: Path of the experiment file.
        workload: The model to optimize, with its data and quality metric.
        space: The search space on this machine.
        baseline: Configuration that all others are compared with; always trial 0.
        references: Configurations that recommendations are compared with besides the baseline:
            defaults of runtimes and the user's current settings.
        objectives: Objectives in the order of the file.
        limits: Limits that a trial must keep.
        prefer: Metric that alone decides the recommendation; None for the gain in all objectives.
        price_per_hour: Price of this machine in any currency; None if not given.
        metrics: All metrics of this workload, by name.
        budget: Bounds that end the search.
        sampler: Name of the sampler.
        seed: Seed of the sampler.
        protocol: Settings of the speed measurement.
        early_stop: Whether quality evaluation and timing are stopped early.
        timeouts: Seconds after which a step counts as hung.
        confirmation: Settings of the confirmation.
        concurrent_trials: Largest number of concurrent trials on each machine.
        prepare: Script that creates model and data; None if there is none.
        warm_start: Experiment file of another search, whose front is tried first; None if there is
            none.
        history: Whether the sampler learns from earlier searches on this machine.
        written: Values of the file, with overrides applied.
        overrides: The applied `a.b=value` overrides.
        smoke: Whether this is a quick check, whose measurements are not meaningful.
        record_folder: Folder of the record if it is not the default one next to the file.
    """

    name: str
    path: Path
    workload: WorkloadSpec
    space: SearchSpace
    baseline: Configuration
    references: tuple[ReferenceConfiguration, ...]
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    prefer: str | None
    price_per_hour: float | None
    metrics: Mapping[str, Metric]
    budget: Budget
    sampler: str
    seed: int
    protocol: Protocol
    early_stop: bool
    timeouts: Timeouts
    confirmation: ConfirmationSection
    concurrent_trials: int
    prepare: Prepare | None
    warm_start: Path | None
    history: bool
    written: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    smoke: bool = False
    record_folder: Path | None = None

    @property
    def slug(self) -> str:
        """Name of the search as a file name."""
        return slug_of(self.name)

    @property
    def results(self) -> Path:
        """Folder of the record: `record_folder`, else `results/SLUG` next to the file."""
        return self.record_folder or self.path.parent.absolute() / "results" / self.slug

    @property
    def primary(self) -> Metric:
        """Primary quality metric, to which `quality_drop` refers."""
        return next(iter(quality_metrics(self.workload).values()))

    @property
    def rate(self) -> Metric | None:
        """Metric that speed-ups are ratios of; None if the workload measures none."""
        return reference_rate(self.metrics.values())

    @property
    def latency(self) -> Metric | None:
        """Metric of the time of one request; None if the workload measures none."""
        times = (m for m in self.metrics.values() if m.kind == "speed" and m.follows == "time")
        return next(times, None)

    @property
    def size(self) -> Metric | None:
        """First memory metric, by which trials are described; None if none is measured."""
        return first_of_kind(self.metrics.values(), "memory")


def bound(experiment: Experiment, limit: Limit) -> str:
    """Return the text of a limit with its unit."""
    return f"{limit.text} {experiment.metrics[limit.metric].unit}".rstrip()
