"""Evaluation settings that all trials of a search share, passed between processes as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, Value

from .protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Time limits of steps in seconds; a step that exceeds its limit is killed."""

    build_s: float = 1800.0
    quality_s: float = 1800.0
    measure_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """Evaluation settings: what all evaluations of a search share.

    Attributes:
        workload: The workload.
        fingerprint: Hash of the content of its model and data, from `describe_workload`.
        store: Root of the store.
        protocol: How speed is measured.
        timeouts: Time limits of steps.
        build_cores: Number of cores for all stages but measuring.
        memory_mb: Limit of the private memory of a process, in MB (2**20 bytes), for candidates on
            the CPU; no limit if 0.
        baseline: The baseline's complete configuration, which candidates are compared with; none
            if empty.
        quality_limit: Largest allowed drop of quality in percent of the baseline's; quality
            evaluation stops early once it is decided. None evaluates all items.
        quality_matters: Whether the primary quality metric is an objective or has another limit;
            if so, quality evaluation stops early only for candidates that break the limit.
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


def memory_limit(settings: EvaluationSettings, configuration: Configuration) -> int:
    """Return the memory limit in MB of a configuration's processes; 0 means no limit.

    On CUDA there is none: CUDA reserves far more address space than it uses and would fail.
    """
    return 0 if configuration["device"] == "cuda" else settings.memory_mb
