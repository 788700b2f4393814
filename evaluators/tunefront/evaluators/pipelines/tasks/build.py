"""The task that builds a candidate: the model stage and the runtime stage."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.pipelines.workload import build_workload, catalog_for
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.store.store import Store, key_of
from tunefront.spaces import detect_hardware

from .model_stage import ModelStage, apply_techniques, calibration_requests, use_own_cores

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """The model to build for its configuration's runtime, and the candidate's folder."""

    model: ModelStage
    folder: Path


def build(request: BuildRequest) -> None:
    """Run the model stage and the runtime stage: fill the candidate's folder."""
    from tunefront.evaluators.workloads.modules import pretrained_of

    use_own_cores()
    model = request.model
    configuration = model.configuration
    store = Store(model.store)
    workload = build_workload(model.workload, configuration)
    module = workload.load()
    reference_parameters = _weights(module)[0]
    calibration = calibration_requests(model.workload, configuration)
    apply_techniques(module, model, calibration)
    parameters, zeros = _weights(module)
    source = Source(
        module=module,
        inputs=workload.inputs,
        calibration=calibration,
        shared=lambda name, make: store.get_or_make(
            key_of(kind="shared", name=name, model=model.model_key), make
        ),
        hardware=detect_hardware(),
        architecture=workload.architecture,
        pretrained=pretrained_of(module),
    )
    catalog = catalog_for(model.workload)
    runtime = runtime_of(catalog, configuration.text("runtime"))
    settings = runtime.build(source, configuration, request.folder)
    CandidateRecord(
        configuration=catalog.up_to(configuration, "runtime"),
        settings=settings,
        parameters=parameters,
        reference_parameters=reference_parameters,
        sparsity=zeros / max(parameters, 1),
        extensions=model.workload.extensions,
    ).write(request.folder)


def _weights(module: "torch.nn.Module") -> tuple[int, int]:
    """Return the number of weights in tensors of two or more dimensions, and of zeros in them."""
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    return sum(p.numel() for p in matrices), sum(int((p == 0).sum()) for p in matrices)


def build_marked(request: BuildRequest) -> None:
    """Build for Inductor with a mark around every kernel, which torch's profiler records."""
    import torch._inductor.config as inductor

    with inductor.patch({"cpp.enable_kernel_profile": True}):
        build(request)
