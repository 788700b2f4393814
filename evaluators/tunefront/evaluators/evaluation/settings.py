"""What evaluations share, and how one ended: plain values that travel as JSON."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, Value

from .protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds after which a step is ended as hung."""

    build_s: float = 1800.0
    quality_s: float = 1800.0
    measure_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all evaluations of a search share.

    Attributes:
        workload: The workload.
        fingerprint: The content of its model and data, from `describe_workload`.
        store: Root of the store.
        protocol: How speed is measured.
        timeouts: When steps are ended.
        build_cores: Cores that building and quality may use.
        memory_mb: Private memory that a process on the CPU may take; no limit where 0.
        baseline: The configuration that candidates are measured beside; none where empty.
        quality_limit: The most that quality may drop, in percent of the baseline's; judging ends
            early where that is decided. None where judging goes on to the last item.
        quality_matters: Whether quality is an objective too: then judging ends early only for
            candidates that break the limit.
    """

    workload: WorkloadSpec
    fingerprint: str
    store: str
    protocol: Protocol = field(default_factory=Protocol)
    timeouts: Timeouts = field(default_factory=Timeouts)
    build_cores: int = 1
    memory_mb: int = 0
    baseline: Mapping[str, Value] = field(default_factory=dict)
    quality_limit: float | None = None
    quality_matters: bool = True

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "baseline": dict(self.baseline)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Setting":
        """The inverse of `to_dict`."""
        return cls(
            workload=WorkloadSpec.from_dict(fields["workload"]),
            fingerprint=fields["fingerprint"],
            store=fields["store"],
            protocol=Protocol(**fields["protocol"]),
            timeouts=Timeouts(**fields["timeouts"]),
            build_cores=fields["build_cores"],
            memory_mb=fields["memory_mb"],
            baseline=fields["baseline"],
            quality_limit=fields["quality_limit"],
            quality_matters=fields["quality_matters"],
        )


def memory_limit(setting: Setting, configuration: Configuration) -> int:
    """CUDA reserves far more addresses than it uses, so that a limit would only break it."""
    return 0 if configuration.get("device", "cpu") == "cuda" else setting.memory_mb


def devices() -> dict[str, str]:
    """The GPUs that this worker was given; fork servers may be older than the gift."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
