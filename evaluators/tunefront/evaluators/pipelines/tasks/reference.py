"""The task that evaluates the unchanged model, which candidates are compared with."""

from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.workloads.quality import write_quality
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration

from .model_stage import use_own_cores
from .quality import evaluated_quality


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRequest:
    """The workload to evaluate, with a configuration, and the folder to write its quality to."""

    workload: WorkloadSpec
    configuration: Configuration
    folder: Path


def write_reference(request: ReferenceRequest) -> None:
    """Write the quality and predictions of the unchanged model; nothing if the task has none.

    It runs in fp32 on the configuration's device; on a GPU without TF32.
    """
    use_own_cores()
    workload = build_workload(request.workload, request.configuration)
    device = request.configuration.text("device")
    if device == "cpu":
        unchanged = workload.reference()
    else:
        from tunefront.evaluators.interfaces.torch_tensors import switch_tf32

        switch_tf32("fp32", device)
        unchanged = workload.reference(device)
    if unchanged is not None:
        found = evaluated_quality(request.workload, workload, unchanged, None, None)
        write_quality(found, request.folder)
