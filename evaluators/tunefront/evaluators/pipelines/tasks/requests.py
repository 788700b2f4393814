"""The task that writes the requests that speed is measured with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefront.evaluators.interfaces.builtin import (
    RequestSet,
    interface_of,
    write_request_sets,
)
from tunefront.evaluators.interfaces.load import level_names
from tunefront.evaluators.pipelines.workload import AnyWorkload, build_workload
from tunefront.evaluators.workloads.base import TensorWorkload
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Configuration

LARGEST_SAMPLE = 4 * 2**20
"""Bytes of the sample of items of a fixed shape: every timed process holds all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFiles:
    """The requests to write.

    Attributes:
        workload: The workload.
        configuration: The complete configuration; it has the items in a request.
        parts: Number of parts of the sample of items.
        part_items: Items of each part.
        folder: Folder to write them to.
    """

    workload: WorkloadSpec
    configuration: Configuration
    parts: int
    part_items: int
    folder: Path


def write_requests(request: RequestFiles) -> None:
    """Write the requests of the workload and their loads.

    All batch sizes get the same items, cut into batches: parts of `part_items` items. Items of one
    fixed shape take the same time, and can be large: they are cut to `LARGEST_SAMPLE` bytes. Load
    levels have the same requests, of which lower ones time the first.
    """
    workload = build_workload(request.workload, request.configuration)
    interface, parts = interface_of(workload.interface), request.parts
    batch_size = request.configuration.integer("batch_size")
    requests: Sequence[Any]
    loads = workload.loads()
    counts = [len(one.times_s) or max(parts, interface.least_requests(one)) for one in loads]
    if not interface.in_parts:
        requests, parts = workload.requests(batch_size, max(counts)), 1
    else:
        each = math.ceil(request.part_items / batch_size)
        requests = _cut(workload, workload.requests(batch_size, parts * each), parts)
        counts = [len(requests)] * len(loads)
    sets = [
        RequestSet(
            interface=interface,
            load=load,
            level=level,
            requests=requests[:count],
            parts=parts,
            slo=request.workload.slo,
        )
        for load, level, count in zip(loads, level_names(loads), counts, strict=True)
    ]
    write_request_sets(sets, request.folder)


def _cut(workload: AnyWorkload, requests: Sequence[Any], parts: int) -> Sequence[Any]:
    """Return the first requests of each part, as many as `LARGEST_SAMPLE` holds, at least one."""
    if not isinstance(workload, TensorWorkload) or workload.sizes_vary:
        return requests
    nbytes = sum(array.nbytes for array in requests[0].values())
    each = len(requests) // parts
    kept = min(each, max(1, LARGEST_SAMPLE // (parts * nbytes)))
    return [requests[part * each + place] for part in range(parts) for place in range(kept)]
