"""The experiment: a user's file, validated and resolved, or an error that names line and rule."""

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
    quality_metrics,
)
from tunefront.spaces import (
    Configuration,
    SearchSpace,
)

from .document import slug_of
from .objective import Limit, Objective
from .schema import ConfirmationSection, next_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When a search ends; the first of what is given.

    Attributes:
        trials: So many trials; the baseline counts as one.
        hours: So much time, confirmation included, all sessions together.
        until: A time of the day, or a day and a time, at which the answer is there.
        least_gain: When trials are expected to add less than this to the front, as a share of its
            hypervolume, several times in a row; needs a sampler that expects.
    """

    trials: int | None
    hours: float | None
    until: str | None = None
    least_gain: float | None = None

    def seconds(self, spent_s: float, now: datetime) -> float | None:
        """Time from now; None where there is no deadline.

        Args:
            spent_s: By earlier sessions.
            now: The local time.
        """
        bounds = []
        if self.hours is not None:
            bounds.append(self.hours * 3600 - spent_s)
        if self.until is not None:
            bounds.append((next_time(self.until, now) - now).total_seconds())
        return max(0.0, min(bounds)) if bounds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """A script that makes model and data once.

    Attributes:
        script: The user's script; called with the folder to fill.
        folder: Where what it makes is kept.
    """

    script: Path
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A validated experiment.

    Attributes:
        name: As the user wrote it.
        path: The file.
        workload: What is optimized.
        space: What may be chosen, on this machine.
        baseline: What everything is compared with; always trial 0.
        objectives: What is searched for, in the order of the file.
        limits: What a choice must keep.
        prefer: The metric that decides what is recommended; None for the gain in all objectives.
        price_per_hour: What this machine costs, in any currency; None where nobody said.
        metrics: Every metric of this workload, by name.
        budget: When the search ends.
        sampler: Who proposes.
        seed: Of the sampler.
        warm_start: The file of another search, whose front is tried first; None where there is
            none.
        protocol: How speed is measured.
        early_stop: Whether judging quality ends where the limit is decided.
        timeouts: When steps count as hung.
        confirmation: How finalists are measured again.
        concurrent_trials: Trials at a time on each machine, at the most.
        prepare: What makes model and data, if anything.
        written: The file's values, overrides included.
        overrides: The `a.b=value` texts that were laid over the file.
        smoke: Whether this is a quick check whose figures don't count.
        kept_in: Where its record lies, where that is not beside the file.
    """

    name: str
    path: Path
    workload: WorkloadSpec
    space: SearchSpace
    baseline: Configuration
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
    written: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    smoke: bool = False
    kept_in: Path | None = None

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return slug_of(self.name)

    @property
    def results(self) -> Path:
        """Where this search keeps its record, beside the file."""
        return self.kept_in or self.path.parent.absolute() / "results" / self.slug

    @property
    def primary(self) -> Metric:
        """The quality metric that `quality_drop` is about."""
        return next(iter(quality_metrics(self.workload).values()))


def bound(experiment: Experiment, limit: Limit) -> str:
    """A limit with its unit."""
    return f"{limit} {experiment.metrics[limit.metric].unit}".rstrip()
