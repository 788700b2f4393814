"""The task that builds a candidate: the model stage and the runtime stage."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.pipelines.workload import build_workload, catalog_for
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.store.store import Store, key_of
from tunefront.evaluators.techniques.pruning import active_techniques
from tunefront.evaluators.workloads.base import GenerationWorkload, TensorWorkload
from tunefront.spaces import Configuration, detect_hardware

from .model_stage import ModelStage, apply_techniques, calibration_requests, use_own_cores
from .size_check import OTHER_BATCH, TRIED, write_outputs

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """The model to build for its configuration's runtime, and the candidate's folder."""

    model: ModelStage
    folder: Path


def build(request: BuildRequest) -> None:
    """Run the model stage and the runtime stage: fill the candidate's folder.

    The torch module is loaded if techniques change it or the runtime needs it.
    """
    use_own_cores()
    model = request.model
    configuration, catalog = model.configuration, catalog_for(model.workload)
    stage = _Module(model)
    if changed := bool(active_techniques(catalog, configuration)):
        stage.module  # noqa: B018
    workload = build_workload(model.workload, configuration)
    tensors = isinstance(workload, TensorWorkload)
    store = Store(model.store)
    source = Source(
        module=lambda: stage.module,
        shared=lambda name, make: store.get_or_make(
            key_of(kind="shared", name=name, model=model.model_key), make
        ),
        hardware=detect_hardware(),
        inputs=workload.inputs if isinstance(workload, TensorWorkload) else (),
        calibration=stage.calibration if tensors else (),
        prompts=stage.calibration if isinstance(workload, GenerationWorkload) else (),
        interface=workload.interface,
        architecture=workload.architecture,
        unchanged=None if changed else workload.checkpoint(),
        server=model.workload.server,
    )
    runtime = runtime_of(catalog, configuration.text("runtime"))
    settings = runtime.build(source, configuration, request.folder)
    if isinstance(workload, TensorWorkload):
        store.get_or_make(
            outputs_key(model.model_key, configuration.text("device")),
            partial(stage.write_outputs, workload),
        )
    built = catalog.up_to(configuration, "runtime")
    defaults = {n: v for n, v in catalog.defaults.items() if n not in built}
    CandidateRecord(
        configuration=built,
        settings=settings,
        parameters=stage.parameters,
        reference_parameters=stage.reference_parameters,
        sparsity=stage.zeros / max(stage.parameters, 1),
        execution=Configuration(defaults),
        interface=workload.interface,
        extensions=model.workload.extensions,
    ).write(request.folder)


def outputs_key(model_key: str, device: str = "cpu") -> str:
    """Return the store key of the module's outputs at several sizes.

    On a GPU a module can have other outputs, see `CausalLM.load_module`.
    """
    own = {} if device == "cpu" else {"device": device}
    return key_of(kind="module outputs", model=model_key, **own)


class _Module:
    """The torch module after the model stage, loaded on first use, and its weights.

    Weights are counted in tensors of two or more dimensions; the numbers are 0 before it is loaded.
    """

    def __init__(self, stage: ModelStage) -> None:
        self._stage = stage
        self.parameters = self.reference_parameters = self.zeros = 0

    @cached_property
    def calibration(self) -> list[Any]:
        """The requests that techniques and the build are calibrated with."""
        return calibration_requests(self._stage.workload, self._stage.configuration)

    def write_outputs(self, workload: TensorWorkload, folder: Path) -> None:
        """Write the module's outputs at several sizes, which candidates are compared with."""
        from tunefront.evaluators.interfaces.torch_tensors import device_of, run_of

        requests = workload.requests(OTHER_BATCH, TRIED)
        run = run_of(self.module, device_of(self.module))
        write_outputs(run, self.calibration[0], requests, folder)

    @cached_property
    def module(self) -> "torch.nn.Module":
        """The module with the techniques applied."""
        stage = self._stage
        module = build_workload(stage.workload, stage.configuration).load_module()
        self.reference_parameters = _weights(module)[0]
        apply_techniques(module, stage, self.calibration)
        self.parameters, self.zeros = _weights(module)
        return module


def _weights(module: "torch.nn.Module") -> tuple[int, int]:
    """Return the number of weights in tensors of two or more dimensions, and of zeros in them."""
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    return sum(p.numel() for p in matrices), sum(int((p == 0).sum()) for p in matrices)


def build_marked(request: BuildRequest) -> None:
    """Build for Inductor with a mark around every kernel, which torch's profiler records."""
    import torch._inductor.config as inductor

    with inductor.patch({"cpp.enable_kernel_profile": True}):
        build(request)
