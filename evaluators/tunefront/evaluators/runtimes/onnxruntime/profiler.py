"""Profiling with ONNX Runtime's profiler: a second session that writes a Chrome trace."""

import json
import time
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from tunefront.evaluators.interfaces.tensors import warm_up
from tunefront.evaluators.profiling.job import (
    ProfileJob,
    ProfilerResult,
    middle,
    passes_in,
    timed_passes,
)
from tunefront.evaluators.profiling.kinds import onnx_kind
from tunefront.evaluators.profiling.profile import ProfileRow, between
from tunefront.evaluators.runtimes.base import OpenFolder

from .runtime import ONNX_FILE, OnnxEndpoint

_Event = Mapping[str, Any]


def profile_onnx(job: ProfileJob, open_folder: OpenFolder) -> ProfilerResult:
    """Profile from the session's trace; the time of a call outside its nodes is its own row."""
    plain = open_folder(job.folder)
    seen = OnnxEndpoint(job.folder / ONNX_FILE, job.threads, trace=str(job.trace.with_suffix("")))
    for candidate in (plain, seen):
        warm_up(candidate, job.requests, job.seconds)
    before = timed_passes(plain, job.requests, 3)
    passes = passes_in(job.seconds, min(before), len(job.requests))
    before = timed_passes(plain, job.requests, passes)
    calls_ms: list[float] = []
    for _ in range(passes):
        for request in job.requests:
            start = time.perf_counter()
            seen(request)
            calls_ms.append((time.perf_counter() - start) * 1e3)
    after = timed_passes(plain, job.requests, passes)
    Path(seen.end_trace()).rename(job.trace)
    runs = _runs(_closed(job.trace))[-len(calls_ms) :]
    kept = _kept(calls_ms, len(job.requests))
    weights = _weights(job.folder / ONNX_FILE)
    rows: list[ProfileRow] = []
    for number in kept:
        nodes = [_row(event, weights) for event in runs[number]]
        left_ms = calls_ms[number] - sum(row.self_ms for row in nodes)
        rows += [*nodes, between(left_ms)]
    return ProfilerResult(
        rows=rows,
        counted=len(kept),
        plain_ms=[*before, *after],
        passes=passes,
        facts=dict(plain.facts()),
        notes=("modules are not known: ONNX Runtime reports the nodes of its fused graph",),
    )


def _closed(path: Path) -> list[_Event]:
    """Return the events; rewrite the file as an object with `traceEvents`, as other traces are."""
    events: list[_Event] = json.loads(path.read_text())
    path.write_text(json.dumps({"traceEvents": events}))
    return events


def _kept(calls_ms: Sequence[float], in_pass: int) -> list[int]:
    passes = [sum(calls_ms[first : first + in_pass]) for first in range(0, len(calls_ms), in_pass)]
    return [place * in_pass + step for place in middle(passes) for step in range(in_pass)]


def _runs(events: Sequence[_Event]) -> list[list[_Event]]:
    """Return the node events of every run of the session, in order."""
    runs = sorted(
        (float(e["ts"]), float(e["ts"]) + float(e["dur"]))
        for e in events
        if e["name"] == "model_run"
    )
    nodes = sorted(
        (e for e in events if e.get("cat") == "Node" and str(e["name"]).endswith("_kernel_time")),
        key=lambda e: float(e["ts"]),
    )
    return [[e for e in nodes if start <= float(e["ts"]) <= end] for start, end in runs]


def _weights(path: Path) -> dict[str, float]:
    """Return the bytes of the constants of every node; the trace omits prepacked weights."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    sizes = {t.name: float(numpy_helper.to_array(t).nbytes) for t in model.graph.initializer}
    return {n.name: sum(sizes.get(name, 0.0) for name in n.input) for n in model.graph.node}


def _row(event: _Event, weights: Mapping[str, float]) -> ProfileRow:
    told = event["args"]
    operator = str(told["op_name"])
    kind = onnx_kind(operator)
    name = str(event["name"]).removesuffix("_kernel_time")
    activations = float(told["activation_size"]) + float(told["output_size"])
    constants = float(told["parameter_size"])
    if kind in ("matmul", "convolution", "attention"):
        constants = max(constants, weights.get(name, 0.0))
    moved = activations + constants
    if operator in ("Reshape", "Unsqueeze", "Squeeze", "Shape", "Flatten", "Identity"):
        moved = 0.0
    elif operator.startswith("Gather"):
        moved = 2 * float(told["output_size"])
    return ProfileRow(
        operator=operator,
        kind=kind,
        module=None,
        calls=1,
        self_ms=float(event["dur"]) / 1e3,
        flops=_flops(operator, _shapes(told, "input"), _shapes(told, "output")),
        moved_bytes=moved,
    )


def _shapes(told: Mapping[str, Any], side: str) -> list[list[int]]:
    return [next(iter(typed.values()), []) for typed in told[f"{side}_type_shape"]]


def _flops(
    operator: str, inputs: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]
) -> float | None:
    """Return the operations of an operator from its shapes; None if they do not determine them."""
    kind = onnx_kind(operator)
    if not inputs or not outputs or not inputs[0]:
        return None
    if kind == "matmul":
        return 2.0 * prod(outputs[0]) * inputs[0][-1]
    if kind == "attention" and len(inputs) > 1 and len(inputs[0]) == len(inputs[1]) == 3:
        return 4.0 * prod(inputs[0]) * inputs[1][1]
    if kind == "convolution" and len(inputs) > 1 and len(inputs[1]) > 2:
        return 2.0 * prod(outputs[0]) * prod(inputs[1][1:])
    return None
