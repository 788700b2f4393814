"""The task that evaluates the unchanged module, which candidates are compared with."""

from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.interfaces.tensors import Inputs
from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.statistics.arrays import Array
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
    """Write the reference module's quality and predictions."""
    import torch

    from tunefront.evaluators.interfaces.torch_tensors import tensors

    use_own_cores()
    workload = build_workload(request.workload, request.configuration)
    module = workload.load()

    def run(inputs: Inputs) -> list[Array]:
        with torch.inference_mode():
            return [module(**tensors(inputs)).numpy()]

    write_quality(workload.quality(run, None), request.folder)
