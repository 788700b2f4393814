"""Measurement targets: the candidates of an interleaved benchmark, and their results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunefront.evaluators.interfaces.base import Percentiles
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Timing
from tunefront.spaces import Configuration, Resources, resources_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A measurement target: a built candidate of an interleaved run.

    Attributes:
        configuration: The configuration that it runs with; complete.
        candidate: Folder of the built candidate.
        requests: Folder of the requests for its batch size.
        compared_only: Whether it runs only so that others can be compared with it: its own blocks
            of measures that need longer ones are left out.
    """

    configuration: Configuration
    candidate: Path
    requests: Path
    compared_only: bool = False

    @property
    def resources(self) -> Resources:
        """Resources of all its processes together."""
        return resources_of(self.configuration)

    @property
    def replicas(self) -> int:
        """Number of replicas: copies of the model that run at the same time."""
        return self.configuration.integer("replicas")

    @property
    def cores(self) -> int:
        """Cores of each replica, for all its ranks."""
        return self.resources.cores // self.replicas

    @property
    def gpus(self) -> int:
        """GPUs of each replica, one for each of its ranks; 0 on the CPU."""
        return self.resources.gpus // self.replicas

    @property
    def clocked_by(self) -> int | None:
        """Threads of each replica if CPU time can be the clock; None on other devices."""
        return None if self.resources.gpus else self.cores


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult:
    """A target result: the timing and measurements of one target.

    Attributes:
        timing: Its timed blocks; at the highest load level if there are several.
        measurements: Speed, size on disk, and what the measures of the run report.
        facts: Seconds of loading and of warm-up, the clock that was used and, after the last turn,
            properties read back from the running candidate.
        warnings: Warnings of its measures: why their values may be wrong.
        state: State of what its measures watch, such as its GPUs' clock in its turns.
        lower: Its timed blocks at the lower load levels, by name.
        distributions: Percentiles of times of single requests, by metric and load level.
    """

    timing: Timing
    measurements: Mapping[str, Measurement]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    state: Mapping[str, float] = field(default_factory=dict)
    lower: Mapping[str, Timing] = field(default_factory=dict)
    distributions: Mapping[str, Percentiles] = field(default_factory=dict)

    @property
    def timings(self) -> dict[str, Timing]:
        """The timed blocks at every load level; of a single level under an empty name."""
        return {**self.lower, self.timing.level: self.timing}
