"""A trial: one evaluated configuration with its measurements and status."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.spaces import STAGE_OF, Configuration, show

TrialStatus = Literal["running", "ok", "infeasible", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One evaluated configuration.

    Attributes:
        number: Number in the study; the baseline is 0.
        configuration: The configuration.
        status: `running`; `ok` if all limits are kept; `infeasible` if measured but a limit is
            broken; `failed`.
        measurements: Measurements by metric, including `quality_drop`; empty unless measured.
        evaluation: Result of the evaluation; None while it runs.
        broken: Limits that are broken.
        started: When the trial was started.
        ended: When its result was recorded.
        why: Text: why it was proposed.
        attempt: Number of times it was started.
        expected_s: Duration expected at the start, in seconds; None if unknown.
    """

    number: int
    configuration: Configuration
    status: TrialStatus
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    broken: tuple[Limit, ...] = ()
    started: datetime | None = None
    ended: datetime | None = None
    why: str = ""
    attempt: int = 1
    expected_s: float | None = None

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
        return str(limit) if found is None else f"{limit} {found.unit}".rstrip()

    def name(self) -> str:
        """Return number and label for display (`038 openvino int8-static b8 t2`)."""
        return f"{self.number:03} {label(self.configuration)}"

    def short_name(self) -> str:
        """Return the abbreviated name for narrow columns (`038 ov int8s b8 t2`)."""
        return " ".join(_SHORT.get(word, word) for word in self.name().split() if word)


_SHORT = {
    "openvino": "ov",
    "onnxruntime": "ort",
    "int8-weight-only": "int8w",
    "int4-weight-only": "int4w",
    "int8-dynamic": "int8d",
    "int8-static": "int8s",
    "ffn-channels": "",
}
"""Abbreviations for narrow columns."""
_HIDDEN = {"precision": "fp32", "quantization": "none", "device": "cpu"}
_PREFIX = {
    "batch_size": "b",
    "threads": "t",
    "replicas": "r",
    "tensor_parallel": "tp",
    "pruning_ratio": "p",
}


def label(configuration: Configuration) -> str:
    """Return the most informative choices: `openvino bf16 int8-static b8 t2 p0.25`."""
    parts: list[str] = []
    for name in ("runtime", "device", "precision", "quantization"):
        value = configuration.get(name)
        if value is not None and value != _HIDDEN.get(name):
            parts.append(str(value))
    method = configuration.get("pruning_method")
    if method is not None:
        parts.append(str(method))
    for name, prefix in _PREFIX.items():
        value = configuration.get(name)
        if value is not None and not (name in ("replicas", "tensor_parallel") and value == 1):
            if name == "pruning_ratio" and value == 0:
                continue
            parts.append(f"{prefix}{show(value)}")
    return " ".join(parts)


@lru_cache(maxsize=65_536)
def candidate_of(configuration: Configuration) -> Configuration:
    """Return the choices on which the built candidate and its quality depend."""
    return Configuration(configuration.up_to("runtime", STAGE_OF))
