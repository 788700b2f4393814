"""Steps: the functions that run in fresh processes; plain JSON values in and out.

`inference.py` and `profile.py` decide which steps run. Steps do not depend on the search or on how
their process is started.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunefront.evaluators.benchmark.turn_channel import TurnClient
from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.exports.open import open_candidate, runtime_of
from tunefront.evaluators.interfaces.tensors import (
    Inputs,
    no_collection,
    read_requests,
    run_block,
    warm_up,
)
from tunefront.evaluators.measures.machine import ProcessWatch
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.evaluators.statistics.paired_quality import QualityLimit
from tunefront.evaluators.store.store import Store, fingerprint_of, key_of
from tunefront.evaluators.techniques.pruning import active_techniques
from tunefront.evaluators.workloads.base import Workload
from tunefront.evaluators.workloads.outputs import write_samples
from tunefront.evaluators.workloads.quality import read_items, read_predictions, write_quality
from tunefront.evaluators.workloads.sequential import LOOKS
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration, EvaluationError, detect_hardware

from .read_back import not_applied
from .workload import build_workload, catalog_for

if TYPE_CHECKING:
    import torch

CALIBRATION_REQUESTS = 8
CALIBRATION_BATCH = 4
PLANS_FILE = "plans.json"
WEIGHTS_FILE = "model.safetensors"

Payload = Mapping[str, Any]


def describe(payload: Payload) -> dict[str, object]:
    """Check that model and data can be read; return the workload's fingerprint and size.

    Payload: `workload`.
    """
    spec = WorkloadSpec.from_dict(payload["workload"])
    workload = build_workload(spec)
    _threads()
    module = workload.load()
    workload.requests(2, 1)
    files = [*workload.files()]
    if spec.calibration is not None:
        files += _calibration(spec).files()
        _calibration(spec).requests(2, 1)
    return {
        "fingerprint": fingerprint_of(tuple(files)),
        "parameters": sum(p.numel() for p in module.parameters()),
        "module": type(module).__name__,
    }


def requests(payload: Payload) -> dict[str, object]:
    """Write the requests that speed is measured with.

    Payload: `workload`, `batch_size`, `count`, `folder`.
    """
    workload = build_workload(WorkloadSpec.from_dict(payload["workload"]))
    made = workload.requests(int(payload["batch_size"]), int(payload["count"]))
    for place, request in enumerate(made):
        path = Path(payload["folder"], f"request_{place:03}.npz")
        np.savez(path, allow_pickle=False, **dict(request))
    return {}


def reference(payload: Payload) -> dict[str, object]:
    """Write the reference module's quality and predictions.

    Payload: `workload`, `folder`.
    """
    import torch

    from tunefront.evaluators.interfaces.torch_tensors import tensors

    _threads()
    workload = build_workload(WorkloadSpec.from_dict(payload["workload"]))
    module = workload.load()

    def run(inputs: Inputs) -> list[Any]:
        with torch.inference_mode():
            return [module(**tensors(inputs)).numpy()]

    write_quality(workload.quality(run, None), Path(payload["folder"]))
    return {}


def build(payload: Payload) -> dict[str, object]:
    """Run the model stage and the runtime stage: fill the candidate's folder.

    Payload: `workload`, `configuration`, `store`, `model_key`, `folder`.
    """
    from tunefront.evaluators.workloads.modules import pretrained_of

    _threads()
    spec = WorkloadSpec.from_dict(payload["workload"])
    configuration = Configuration(payload["configuration"])
    store = Store(Path(payload["store"]))
    folder = Path(payload["folder"])
    workload = build_workload(spec)
    module = workload.load()
    reference_parameters = _weights(module)[0]
    calibration = _calibration(spec).requests(CALIBRATION_BATCH, CALIBRATION_REQUESTS)
    _apply_techniques(spec, module, configuration, calibration, store, payload["model_key"])
    parameters, zeros = _weights(module)
    source = Source(
        module=module,
        inputs=workload.inputs,
        calibration=calibration,
        shared=lambda name, make: store.get_or_make(
            key_of(kind="shared", name=name, model=payload["model_key"]), make
        ),
        hardware=detect_hardware(),
        architecture=workload.architecture,
        pretrained=pretrained_of(module),
    )
    catalog = catalog_for(spec)
    runtime = runtime_of(catalog, configuration.text("runtime"))
    settings = runtime.build(source, configuration, folder)
    CandidateRecord(
        configuration=catalog.up_to(configuration, "runtime"),
        settings=settings,
        parameters=parameters,
        reference_parameters=reference_parameters,
        sparsity=zeros / max(parameters, 1),
        extensions=spec.extensions,
    ).write(folder)
    return {}


def _calibration(spec: WorkloadSpec) -> Workload:
    """Return the workload with its calibration data, or with its own data if it names none."""
    return build_workload(replace(spec, data=spec.calibration or spec.data))


def _apply_techniques(
    spec: WorkloadSpec,
    module: "torch.nn.Module",
    configuration: Configuration,
    calibration: list[Inputs],
    store: Store,
    model_key: str,
) -> None:
    """Apply the configuration's techniques to the module in place.

    Plans and weights are stored for the model choices and applied again if they exist.
    """
    techniques = active_techniques(catalog_for(spec), configuration)
    if not techniques:
        return
    from safetensors.torch import load_model, save_model

    done = False

    def make(folder: Path) -> None:
        nonlocal done
        plans = [technique.plan(module, amount, calibration) for technique, amount in techniques]
        (folder / PLANS_FILE).write_text(json.dumps(plans))
        save_model(module, str(folder / WEIGHTS_FILE))
        done = True

    folder = store.get_or_make(key_of(kind="techniques", model=model_key), make)
    if not done:
        plans = json.loads((folder / PLANS_FILE).read_text())
        for (technique, _), plan in zip(techniques, plans, strict=True):
            technique.apply(module, plan)
        load_model(module, folder / WEIGHTS_FILE)


def _weights(module: "torch.nn.Module") -> tuple[int, int]:
    """Return the number of weights in tensors of two or more dimensions, and of zeros in them."""
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    return sum(p.numel() for p in matrices), sum(int((p == 0).sum()) for p in matrices)


def quality(payload: Payload) -> dict[str, object]:
    """Write the candidate's quality and example outputs.

    Payload: `workload`, `candidate`, `reference`, `threads`, `folder`; for early stopping also
    `limit` (percent), `baseline` (folder of the baseline's quality) and `keeping_counts`.
    """
    workload = build_workload(WorkloadSpec.from_dict(payload["workload"]))
    candidate = open_candidate(payload["candidate"], threads=int(payload["threads"]))
    try:
        predictions = read_predictions(Path(payload["reference"]))
        enough = _quality_limit(workload, payload).decided if "limit" in payload else None
        result = workload.quality(candidate, predictions or None, enough)
        samples = workload.samples(candidate, result)
    finally:
        candidate.close()
    write_quality(result, Path(payload["folder"]))
    write_samples(samples, Path(payload["folder"]))
    return {}


def _quality_limit(workload: Workload, payload: Payload) -> QualityLimit:
    return QualityLimit(
        base=read_items(Path(payload["baseline"])),
        scale=workload.primary.scale,
        direction=workload.primary.direction,
        bound=float(payload["limit"]) / 100,
        keeping_counts=bool(payload["keeping_counts"]),
        looks=len(LOOKS),
    )


def measure(payload: Payload) -> dict[str, object]:
    """Open the candidate as a deployment would, run its turns, and read back its properties.

    The model is loaded on the call `load`: until then, measures read the idle process from outside.
    Properties are read after the turns, because reading them can take memory.

    Payload: `candidate`, `configuration`, `requests`, `threads`, `protocol`; `address` and `place`
    for the turn channel; `inside`, the functions of measures that read inside this process.

    Returns:
        `facts`.

    Raises:
        EvaluationError: With the cause "invalid output" if outputs are not finite, "not applied"
            if a choice did not take effect.
    """
    made = read_requests(Path(payload["requests"]))
    client = TurnClient(payload["address"], int(payload["place"]))
    calls = client.calls()
    if next(calls, "end") != "load":
        return {}
    folder = Path(payload["candidate"])
    start = time.perf_counter()
    candidate = open_candidate(folder, threads=int(payload["threads"]))
    load_s = time.perf_counter() - start
    try:
        _check_outputs(candidate, made[0])
        client.say({"load_s": load_s})
        with no_collection():
            protocol = Protocol(**payload["protocol"])
            _take_turns(client, calls, candidate, made, protocol, payload["inside"])
        facts = candidate.facts()
        problem = not_applied(
            catalog_for(WorkloadSpec.from_dict(payload["workload"])),
            Configuration(payload["configuration"]),
            facts,
            CandidateRecord.read(folder),
        )
        if problem is not None:
            raise EvaluationError(problem, cause="not applied")
        return {"facts": dict(facts)}
    finally:
        candidate.close()


def build_marked(payload: Payload) -> dict[str, object]:
    """Build for Inductor with a mark around every kernel, which torch's profiler records."""
    import torch._inductor.config as inductor

    with inductor.patch({"cpp.enable_kernel_profile": True}):
        return build(payload)


def count_products(payload: Payload) -> dict[str, object]:
    """Return the operations of matrix products of the mean request, by kind of work.

    They are counted on the torch module, with techniques applied.

    Payload: as `build` without `folder`, and `requests`.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from tunefront.evaluators.interfaces.torch_tensors import tensors
    from tunefront.evaluators.profiling.kinds import torch_kind

    _threads()
    spec = WorkloadSpec.from_dict(payload["workload"])
    module = build_workload(spec).load()
    calibration = _calibration(spec).requests(CALIBRATION_BATCH, CALIBRATION_REQUESTS)
    store = Store(Path(payload["store"]))
    configuration = Configuration(payload["configuration"])
    _apply_techniques(spec, module, configuration, calibration, store, payload["model_key"])
    made = read_requests(Path(payload["requests"]))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for request in made:
            module(**tensors(request))
    products: dict[str, float] = {}
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        kind = torch_kind(str(operator).replace("aten.", "aten::"))
        products[kind] = products.get(kind, 0.0) + flops / len(made)
    return dict(products)


def roofline(payload: Payload) -> dict[str, object]:
    """Measure the machine's roofline in the candidate's number format.

    Payload: `configuration`.
    """
    from tunefront.evaluators.profiling.roofline import measure_roofline

    configuration = Configuration(payload["configuration"])
    wanted = NumberFormat.of(configuration)
    return asdict(
        measure_roofline(
            configuration.text("device"),
            wanted.precision,
            wanted.method if wanted.quantized else "",
            configuration.integer("threads"),
        )
    )


def profile(payload: Payload) -> dict[str, object]:
    """Profile a candidate and write its trace.

    Payload: `candidate`, `marked` (folder that `build_marked` filled, or empty), `products` (result
    of `count_products`, or empty), `roofline` (result of `roofline`), `requests`, `threads`,
    `seconds`, `trace` (file to write).
    """
    from tunefront.evaluators.pipelines.profiler import profile_job
    from tunefront.evaluators.profiling.job import ProfileJob
    from tunefront.evaluators.profiling.profile import Roofline

    folder = Path(payload["candidate"])
    job = ProfileJob(
        folder=folder,
        marked=Path(payload["marked"]) if payload["marked"] else None,
        record=CandidateRecord.read(folder),
        threads=int(payload["threads"]),
        requests=read_requests(Path(payload["requests"])),
        seconds=float(payload["seconds"]),
        trace=Path(payload["trace"]),
        products=payload["products"],
        roofline=Roofline(**payload["roofline"]),
    )
    with no_collection():
        return profile_job(job).to_dict()


def _check_outputs(candidate: Any, request: Inputs) -> None:
    outputs = candidate(request)
    if not all(np.isfinite(output).all() for output in outputs):
        raise EvaluationError("outputs hold NaN or infinite values", cause="invalid output")


def _take_turns(
    client: TurnClient,
    calls: Iterator[str],
    candidate: Any,
    made: list[Inputs],
    protocol: Protocol,
    inside: Sequence[str],
) -> None:
    """Serve the calls of the turn channel until `end`.

    `warm` runs the warm-up, `report` replies with the results of the functions `inside`, any other
    call runs a timed block.
    """
    watch = ProcessWatch()
    for word in calls:
        if word == "end":
            return
        if word == "warm":
            warmup_s = warm_up(candidate, made, protocol.seconds)
            watch.settle()
            client.say({"warmup_s": warmup_s})
        elif word == "report":
            client.say({"reports": {name: _called(name) for name in inside}})
        else:
            block = run_block(candidate, made, protocol.block_s, watch)
            watch.settle()
            client.say(block.to_dict())


def _called(name: str) -> Mapping[str, float]:
    """Return the result of a function `module:function`."""
    module, _, function = name.partition(":")
    found: Mapping[str, float] = getattr(import_module(module), function)()
    return found


def _threads() -> None:
    """Set torch's number of threads to the number of cores of this process."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))


def export(payload: Payload) -> dict[str, object]:
    """Turn a candidate into an export: its files, scripts, recorded outputs and processor.

    Payload: `workload`, `candidate`, `requests`, `threads`, `folder`.
    """
    from tunefront.evaluators.exports.folder import (
        PROCESSOR,
        can_be_served,
        copy_candidate,
        write_recorded_outputs,
        write_server,
    )

    folder = Path(payload["folder"])
    workload = build_workload(WorkloadSpec.from_dict(payload["workload"]))
    record = copy_candidate(Path(payload["candidate"]), folder, int(payload["threads"]))
    workload.save_processor(folder / PROCESSOR)
    request = read_requests(Path(payload["requests"]))[0]
    if can_be_served(record):
        write_server(folder, workload.inputs, request)
    write_recorded_outputs(folder, request)
    return {}
