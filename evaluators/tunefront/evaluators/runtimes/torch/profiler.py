"""Profiling with torch's profiler: exported programs and packages compiled by Inductor."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunefront.evaluators.interfaces.tensors import TensorEndpoint, warm_up
from tunefront.evaluators.profiling.job import (
    ProfileJob,
    ProfilerResult,
    middle,
    passes_in,
    timed_passes,
)
from tunefront.evaluators.profiling.profile import ProfileRow
from tunefront.evaluators.profiling.trace import (
    MARK,
    CallSite,
    Span,
    places_in,
    requests_of,
    rows_on_cpu,
    rows_on_gpu,
)
from tunefront.evaluators.runtimes.base import OpenFolder

FEWEST_PLACES = 0.8
"""Minimum share of the graph's operators found in the trace for modules to be reported."""


def profile_torch(job: ProfileJob, open_folder: OpenFolder) -> ProfilerResult:
    """Profile from a Chrome trace; modules are assigned by the order of the program's operators."""
    plain = open_folder(job.folder)
    seen = plain if job.marked is None else open_folder(job.marked)
    for candidate in (plain, seen):
        warm_up(candidate, job.requests, job.seconds)
    before = timed_passes(plain, job.requests, 3)
    passes = passes_in(job.seconds, min(before), len(job.requests))
    before = timed_passes(plain, job.requests, passes)
    _record(seen, job, passes)
    after = timed_passes(plain, job.requests, passes)
    events: list[Mapping[str, Any]] = json.loads(job.trace.read_text())["traceEvents"]
    requests = requests_of(events)
    kept = _kept(requests, len(job.requests))
    graph, notes = _found_again(requests[0], _graph(seen))
    places: dict[tuple[str, ...], dict[int, CallSite]] = {}
    on_gpu = job.record.configuration["device"] == "cuda"
    starts = [request.start_us for request in requests] + [float("inf")]
    rows: list[ProfileRow] = []
    for number in kept:
        request = requests[number]
        names = tuple(span.name for span in request.children)
        if names not in places:
            places[names] = places_in(request, graph)
        if on_gpu:
            rows += rows_on_gpu(request, places[names], events, starts[number + 1])
        else:
            rows += rows_on_cpu(request, places[names])
    return ProfilerResult(
        rows=rows,
        counted=len(kept),
        plain_ms=[*before, *after],
        passes=passes,
        facts=dict(plain.facts()),
        notes=notes,
    )


def _record(candidate: TensorEndpoint, job: ProfileJob, passes: int) -> None:
    """Run all requests under the profiler and write the trace; one profiled pass is a warm-up."""
    from torch.profiler import ProfilerActivity, profile, record_function

    wanted = [ProfilerActivity.CPU]
    if job.record.configuration["device"] == "cuda":
        wanted.append(ProfilerActivity.CUDA)
    with profile(activities=wanted, record_shapes=True):
        timed_passes(candidate, job.requests, 1)

    def marked(request: Any) -> None:
        with record_function(MARK):
            candidate(request)

    with profile(activities=wanted, record_shapes=True) as profiler:
        candidate(job.requests[0])  # unmarked: includes start-up costs of the profiler
        timed_passes(marked, job.requests, passes)
    profiler.export_chrome_trace(str(job.trace))


def _kept(requests: Sequence[Span], in_pass: int) -> list[int]:
    """Return the indices of the requests in the undisturbed passes (middle half by time)."""
    times = [request.end_us - request.start_us for request in requests]
    passes = [sum(times[first : first + in_pass]) for first in range(0, len(times), in_pass)]
    return [place * in_pass + step for place in middle(passes) for step in range(in_pass)]


def _graph(candidate: TensorEndpoint) -> list[CallSite]:
    """Return the operators of an exported program in order; none for a compiled package."""
    from torch._ops import OpOverload

    from .runtime import TorchEndpoint

    if not isinstance(candidate, TorchEndpoint):
        return []
    found: list[CallSite] = []
    for node in candidate.graph.nodes:
        if isinstance(node.target, OpOverload):
            path, kind = _module_of(node.meta.get("nn_module_stack") or {})
            name = node.target._schema.name
            found.append(CallSite(operator=name, module=path, module_class=kind))
    return found


def _module_of(stack: Mapping[str, tuple[str, Any]]) -> tuple[str, str]:
    """Return path and class of the innermost module; empty if there is none."""
    if not stack:
        return "", ""
    path, kind = list(stack.values())[-1]
    name = kind if isinstance(kind, str) else kind.__name__
    if "empty_nn_module_stack" in path:
        return "", ""
    return path.partition("@")[0], name.rpartition(".")[2]


def _found_again(request: Span, graph: list[CallSite]) -> tuple[list[CallSite], tuple[str, ...]]:
    """Return the graph, or nothing if it does not match the trace, and a note on the reason."""
    if not graph:
        return [], ("modules are not known: what Inductor compiled has none",)
    found = len(places_in(request, graph))
    if found < FEWEST_PLACES * len(graph):
        told = f"{found} of the program's {len(graph)} operators"
        return [], (f"modules are not known: only {told} were found again in what ran",)
    return graph, ()
