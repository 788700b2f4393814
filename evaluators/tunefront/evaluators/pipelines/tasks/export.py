"""The task that turns a candidate into an export."""

from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.exports.folder import (
    copy_candidate,
    write_about,
    write_recorded_outputs,
    write_server,
    write_text_server,
)
from tunefront.evaluators.exports.open import PROCESSOR
from tunefront.evaluators.interfaces.builtin import highest_set, read_request_sets
from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.workloads.base import GenerationWorkload, TensorWorkload
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """An export.

    Attributes:
        workload: The workload.
        configuration: The complete configuration of the candidate.
        candidate: Folder of the candidate.
        requests: Folder of the requests; the first is recorded with its outputs.
        folder: The export's folder.
    """

    workload: WorkloadSpec
    configuration: Configuration
    candidate: Path
    requests: Path
    folder: Path


def write_export(request: ExportRequest) -> None:
    """Write the candidate's files, scripts, recorded outputs and processor."""
    folder = request.folder
    workload = build_workload(request.workload, request.configuration)
    made = highest_set(read_request_sets(request.requests))
    first = made.requests[0]
    deployment = copy_candidate(request.candidate, folder, request.configuration, made.interface)
    workload.save_processor(folder / PROCESSOR)
    served = not deployment.not_served
    if isinstance(workload, TensorWorkload):
        if served and workload.served:
            write_server(folder, workload.inputs, first)
    elif isinstance(workload, GenerationWorkload):
        write_about(folder, workload.stop_tokens(), workload.limits())
        if served and (folder / PROCESSOR).is_dir():
            write_text_server(folder)
    write_recorded_outputs(folder, made.interface, first)
