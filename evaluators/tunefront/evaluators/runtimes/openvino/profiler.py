"""Profiling with OpenVINO's performance counters: a second compiled model counts by node."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tunefront.evaluators.interfaces.tensors import warm_up
from tunefront.evaluators.profiling.job import (
    ProfileJob,
    ProfilerResult,
    middle_mean,
    passes_in,
    timed_passes,
)
from tunefront.evaluators.profiling.kinds import openvino_kind
from tunefront.evaluators.profiling.profile import ProfileRow, between
from tunefront.evaluators.profiling.work import Shape
from tunefront.evaluators.runtimes.base import OpenFolder

from .runtime import IR_FILE, OpenVinoEndpoint

_BITS = {"f32": 32, "i32": 32, "i64": 64, "bf16": 16, "f16": 16, "u4": 4, "i4": 4, "nf4": 4}
LEAST_RUNS = 40
"""Minimum number of runs.

Counters are means in whole microseconds since compilation, thus too coarse after fewer runs.
"""


def profile_openvino(job: ProfileJob, open_folder: OpenFolder) -> ProfilerResult:
    """Profile from the counters; the time of a call outside its nodes is its own row."""
    plain = open_folder(job.folder)
    options = job.record.settings["options"]
    assert isinstance(options, dict)
    counting = {**options, "INFERENCE_NUM_THREADS": job.threads, "PERF_COUNT": True}
    seen = OpenVinoEndpoint(job.folder / IR_FILE, counting)
    for candidate in (plain, seen):
        warm_up(candidate, job.requests, job.seconds)
    before = timed_passes(plain, job.requests, 3)
    passes = passes_in(job.seconds, min(before), len(job.requests))
    passes = max(passes, LEAST_RUNS // len(job.requests))
    before = timed_passes(plain, job.requests, passes)
    calls_ms = timed_passes(seen, job.requests, passes)
    after = timed_passes(plain, job.requests, passes)
    counts = seen.counts()
    work = _work(seen, job)
    rows = [_row(count, work) for count in counts if count.self_ms > 0]
    rows.append(between(middle_mean(calls_ms) - sum(row.self_ms for row in rows)))
    events = {"traceEvents": _events(counts), "displayTimeUnit": "ms"}
    job.trace.write_text(json.dumps(events))
    return ProfilerResult(
        rows=rows,
        counted=1,
        plain_ms=[*before, *after],
        passes=passes,
        facts=dict(plain.facts()),
        notes=(
            "modules are not known: OpenVINO reports the nodes of its fused graph",
            "OpenVINO counts whole microseconds: small operators are coarse, and one below half a "
            "microsecond is counted between operators; the trace has the counts one after another",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Work of a node per request: means over all requests."""

    flops: float | None
    moved_bytes: float


def _work(candidate: OpenVinoEndpoint, job: ProfileJob) -> dict[str, _Work]:
    """Compute the work by node from the plugin's shapes in every request."""
    seen: dict[str, list[_Work]] = {}
    for request in job.requests:
        candidate(request)
        for name, kind, inputs, output in candidate.shapes():
            moved = sum(_bytes(*tensor) for tensor in [*inputs, output])
            if kind in ("Gather", "GatherElements"):
                moved = 2 * _bytes(*output)
            flops = _flops(kind, [shape for shape, _ in inputs], output[0])
            seen.setdefault(name, []).append(_Work(flops=flops, moved_bytes=moved))
    count = len(job.requests)
    return {
        name: _Work(
            flops=None if works[0].flops is None else sum(w.flops or 0.0 for w in works) / count,
            moved_bytes=sum(work.moved_bytes for work in works) / count,
        )
        for name, works in seen.items()
    }


def _bytes(shape: Shape, kind: str) -> float:
    return prod(shape) * _BITS.get(kind, 8) / 8


def _flops(kind: str, inputs: Sequence[Shape], output: Shape) -> float | None:
    """Return the operations of a node from its shapes; None if they do not determine them."""
    if kind.startswith(("FullyConnected", "MatMul")) and inputs and inputs[0]:
        return 2.0 * prod(output) * inputs[0][-1]
    if kind == "Convolution" and len(inputs) > 1:
        return 2.0 * prod(output) * prod(inputs[1][1:])
    if kind == "ScaledDotProductAttention" and len(inputs) > 1 and len(inputs[1]) == 4:
        return 4.0 * prod(inputs[0]) * inputs[1][2]
    return None


def _row(count: Any, work: Mapping[str, _Work]) -> ProfileRow:
    known = work.get(count.name)
    return ProfileRow(
        operator=f"{count.kind} ({count.kernel})",
        kind=openvino_kind(count.kind, count.name),
        module=None,
        calls=1,
        self_ms=count.self_ms,
        flops=known.flops if known else None,
        moved_bytes=known.moved_bytes if known else None,
    )


def _events(counts: Sequence[Any]) -> list[dict[str, Any]]:
    """Convert the counters to a Chrome trace, with the nodes in sequence."""
    events: list[dict[str, Any]] = []
    start_us = 0.0
    for count in counts:
        if count.self_ms > 0:
            events.append(
                {
                    "name": count.name,
                    "cat": count.kind,
                    "ph": "X",
                    "pid": 1,
                    "tid": 1,
                    "ts": start_us,
                    "dur": count.self_ms * 1e3,
                    "args": {"kernel": count.kernel},
                }
            )
            start_us += count.self_ms * 1e3
    return events
