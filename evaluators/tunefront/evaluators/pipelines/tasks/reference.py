"""The task that evaluates the unchanged model, which candidates are compared with."""

from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.workloads.quality import write_quality
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration

from .model_stage import use_own_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRequest:
    """The workload to evaluate, with a configuration, and the folder to write its quality to."""

    workload: WorkloadSpec
    configuration: Configuration
    folder: Path


def write_reference(request: ReferenceRequest) -> None:
    """Write the quality and predictions of the unchanged model; nothing if the task has none."""
    use_own_cores()
    workload = build_workload(request.workload, request.configuration)
    unchanged = workload.reference()
    if unchanged is not None:
        write_quality(workload.quality(unchanged, None), request.folder)
