"""The task that writes the requests that speed is measured with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.workloads.spec import WorkloadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFiles:
    """The requests to write.

    Attributes:
        workload: The workload.
        batch_size: Items in a request.
        count: Number of requests.
        folder: Folder to write them to.
    """

    workload: WorkloadSpec
    batch_size: int
    count: int
    folder: Path


def write_requests(request: RequestFiles) -> None:
    """Write one file for each request."""
    workload = build_workload(request.workload)
    for place, inputs in enumerate(workload.requests(request.batch_size, request.count)):
        path = request.folder / f"request_{place:03}.npz"
        np.savez(path, allow_pickle=False, **dict(inputs))
