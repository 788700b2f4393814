"""A trial: one evaluated configuration with its measurements and status."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.spaces import Catalog, Configuration

TrialStatus = Literal["running", "ok", "infeasible", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One evaluated configuration.

    Attributes:
        number: Number in the study; the baseline is 0.
        configuration: The configuration: its active choices.
        catalog: The catalogue that its choices are from.
        status: `running`; `ok` if all limits are kept; `infeasible` if measured but a limit is
            broken; `failed`.
        measurements: Measurements by metric, including `quality_drop`; empty unless measured.
        evaluation: Result of the evaluation; None while it runs.
        broken: Limits that are broken.
        started: When the trial was started.
        ended: When its result was recorded.
        reason: Text: why it was proposed.
        attempt: Number of times it was started.
        expected_s: Duration expected at the start, in seconds; None if unknown.
        expected: 90 % interval of the objectives' metrics that was predicted when it was proposed,
            by metric; empty without a prediction.
    """

    number: int
    configuration: Configuration
    catalog: Catalog = field(repr=False, compare=False)
    status: TrialStatus
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    broken: tuple[Limit, ...] = ()
    started: datetime | None = None
    ended: datetime | None = None
    reason: str = ""
    attempt: int = 1
    expected_s: float | None = None
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def complete(self) -> Configuration:
        """The configuration with a value for every choice of the catalogue."""
        return self.catalog.complete(self.configuration)

    @property
    def candidate(self) -> Configuration:
        """The choices that the built candidate depends on."""
        return candidate_of(self.configuration, self.catalog)

    @property
    def measured(self) -> bool:
        """Whether the trial was measured (`ok` or `infeasible`)."""
        return self.status in ("ok", "infeasible")

    def value(self, metric: str) -> float:
        """Return the value of a metric; KeyError if it was not measured."""
        return self.measurements[metric].value

    def cost(self, objective: Objective) -> float:
        """Return the value of an objective, signed so that lower is better."""
        return objective.sign * self.value(objective.metric)

    @property
    def cause(self) -> str:
        """Failure cause or broken limits with units; empty if there are none."""
        if self.status == "failed" and self.evaluation is not None:
            return str(self.evaluation.cause)
        return ", ".join(map(self._with_unit, self.broken))

    def _with_unit(self, limit: Limit) -> str:
        found = self.measurements.get(limit.metric)
        return limit.text if found is None else f"{limit.text} {found.unit}".rstrip()

    def name(self) -> str:
        """Return number and label for display (`038 openvino w8 static b8 t2`)."""
        return f"{self.number:03} {self.catalog.label(self.configuration)}"

    def short_name(self) -> str:
        """Return the abbreviated name for narrow columns (`038 ov w8 static b8 t2`)."""
        return f"{self.number:03} {self.catalog.label(self.configuration, narrow=True)}"


@lru_cache(maxsize=65_536)
def candidate_of(configuration: Configuration, catalog: Catalog) -> Configuration:
    """Return the choices up to the runtime stage: those that the built candidate depends on."""
    return catalog.up_to(configuration, "runtime")
