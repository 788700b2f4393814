"""The task that turns a candidate into an export."""

from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.exports.folder import (
    PROCESSOR,
    can_be_served,
    copy_candidate,
    write_recorded_outputs,
    write_server,
)
from tunefront.evaluators.interfaces.tensors import read_requests
from tunefront.evaluators.pipelines.workload import build_workload
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
        threads: Threads that the export runs with.
        folder: The export's folder.
    """

    workload: WorkloadSpec
    configuration: Configuration
    candidate: Path
    requests: Path
    threads: int
    folder: Path


def write_export(request: ExportRequest) -> None:
    """Write the candidate's files, scripts, recorded outputs and processor."""
    folder = request.folder
    workload = build_workload(request.workload, request.configuration)
    record = copy_candidate(request.candidate, folder, request.threads)
    workload.save_processor(folder / PROCESSOR)
    first = read_requests(request.requests)[0]
    if can_be_served(record):
        write_server(folder, workload.inputs, first)
    write_recorded_outputs(folder, first)
