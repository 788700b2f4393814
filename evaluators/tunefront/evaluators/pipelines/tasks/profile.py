"""The tasks of profiling: operation counts, the machine's roofline, and the profile itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.interfaces.base import no_collection
from tunefront.evaluators.interfaces.builtin import highest_set, read_request_sets
from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.profiling.job import ProfileJob
from tunefront.evaluators.profiling.profile import Profile, Roofline
from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.spaces import Configuration

from .model_stage import ModelStage, apply_techniques, calibration_requests, use_own_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductsRequest:
    """The model whose matrix products are counted, and the folder of the requests."""

    model: ModelStage
    requests: Path


def count_products(request: ProductsRequest) -> dict[str, float]:
    """Return the operations of matrix products of the mean request, by kind of work.

    They are counted on the torch module, with techniques applied.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from tunefront.evaluators.interfaces.torch_tensors import tensors
    from tunefront.evaluators.profiling.kinds import torch_kind

    use_own_cores()
    spec = request.model.workload
    module = build_workload(spec, request.model.configuration).load_module()
    apply_techniques(module, request.model, calibration_requests(spec, request.model.configuration))
    made = highest_set(read_request_sets(request.requests)).part(0)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for inputs in made:
            module(**tensors(inputs))
    products: dict[str, float] = {}
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        kind = torch_kind(str(operator).replace("aten.", "aten::"))
        products[kind] = products.get(kind, 0.0) + flops / len(made)
    return products


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineRequest:
    """The configuration whose device, number format and threads are measured."""

    configuration: Configuration


def find_roofline(request: RooflineRequest) -> Roofline:
    """Measure the machine's roofline in the candidate's number format."""
    from tunefront.evaluators.profiling.roofline import measure_roofline

    configuration = request.configuration
    wanted = NumberFormat.of(configuration)
    return measure_roofline(
        configuration.text("device"),
        wanted.precision,
        wanted.method if wanted.quantized else "",
        configuration.integer("threads"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """A candidate to profile.

    Attributes:
        candidate: Its folder.
        marked: Folder that `build_marked` filled; None if the runtime needs none.
        products: Result of `count_products`; empty if the runtime reports its operations.
        roofline: Measured peaks of the machine.
        requests: Folder of the requests.
        threads: Threads of the process.
        seconds: Approximate duration of profiling.
        trace: Path of the Chrome trace to write.
    """

    candidate: Path
    marked: Path | None
    products: Mapping[str, float]
    roofline: Roofline
    requests: Path
    threads: int
    seconds: float
    trace: Path


def profile(request: ProfileRequest) -> Profile:
    """Profile a candidate and write its trace."""
    from tunefront.evaluators.pipelines.profiler import profile_job

    job = ProfileJob(
        folder=request.candidate,
        marked=request.marked,
        record=CandidateRecord.read(request.candidate),
        threads=request.threads,
        requests=highest_set(read_request_sets(request.requests)).part(0),
        seconds=request.seconds,
        trace=request.trace,
        products=request.products,
        roofline=request.roofline,
    )
    with no_collection():
        return profile_job(job)
