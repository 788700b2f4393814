"""The task that writes the requests that speed is measured with."""

from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.interfaces.builtin import RequestSet, interface_of
from tunefront.evaluators.pipelines.workload import build_workload
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFiles:
    """The requests to write.

    Attributes:
        workload: The workload.
        configuration: The complete configuration; it has the items in a request.
        count: Number of requests.
        folder: Folder to write them to.
    """

    workload: WorkloadSpec
    configuration: Configuration
    count: int
    folder: Path


def write_requests(request: RequestFiles) -> None:
    """Write the requests of the workload and their load."""
    workload = build_workload(request.workload, request.configuration)
    made = RequestSet(
        interface=interface_of(workload.interface),
        load=workload.load(),
        requests=workload.requests(request.configuration.integer("batch_size"), request.count),
    )
    made.write(request.folder)
