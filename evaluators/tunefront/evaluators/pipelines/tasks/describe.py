"""The task that checks a workload's model and data."""

from dataclasses import dataclass

from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.store.store import fingerprint_of
from tunefront.evaluators.workloads.base import TensorWorkload
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration

from .model_stage import calibration_of, use_own_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest:
    """The workload to describe, with a complete configuration."""

    workload: WorkloadSpec
    configuration: Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadDescription:
    """Properties of a workload's model and data.

    Attributes:
        fingerprint: Hash of the content of its files.
        parameters: Number of parameters of the module; 0 if unknown or without a torch module.
        module: Name of the module's class; empty if unknown.
    """

    fingerprint: str
    parameters: int = 0
    module: str = ""


def describe(request: DescribeRequest) -> WorkloadDescription:
    """Check that model and data can be read; return the workload's fingerprint and size."""
    spec = request.workload
    workload = build_workload(spec, request.configuration)
    use_own_cores()
    module = workload.load_module() if isinstance(workload, TensorWorkload) else None
    workload.requests(2, 1)
    files = [*workload.files()]
    if spec.calibration is not None:
        files += calibration_of(spec, request.configuration).files()
        calibration_of(spec, request.configuration).requests(2, 1)
    return WorkloadDescription(
        fingerprint=fingerprint_of(tuple(files)),
        parameters=0 if module is None else sum(p.numel() for p in module.parameters()),
        module="" if module is None else type(module).__name__,
    )
