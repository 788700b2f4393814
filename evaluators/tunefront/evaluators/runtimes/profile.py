"""Profiling of a candidate with the profiler of its runtime."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tunefront.evaluators.profiling.job import ProfileJob, ProfilerResult, middle_mean
from tunefront.evaluators.profiling.profile import Profile, merged
from tunefront.evaluators.runtimes.onnxruntime.profiler import profile_onnx
from tunefront.evaluators.runtimes.openvino.profiler import profile_openvino
from tunefront.evaluators.runtimes.torch.profiler import profile_torch
from tunefront.spaces import EvaluationError

PROFILER_OF: Mapping[str, Callable[[ProfileJob], ProfilerResult]] = MappingProxyType(
    {
        "torch": profile_torch,
        "inductor": profile_torch,
        "onnxruntime": profile_onnx,
        "openvino": profile_openvino,
    }
)
"""Profilers by runtime."""


def check_profiler(runtime: str) -> None:
    """Check that a runtime has a profiler.

    Raises:
        EvaluationError: If it has none (cause "unsupported"); the message lists those that have.
    """
    if runtime not in PROFILER_OF:
        raise EvaluationError(
            f"runtime {runtime} has no profiler; trials of {', '.join(PROFILER_OF)} can be "
            "profiled",
            cause="unsupported",
        )


def profile_job(job: ProfileJob) -> Profile:
    """Profile a candidate in this process.

    Raises:
        EvaluationError: If its runtime has no profiler (cause "unsupported").
    """
    check_profiler(job.record.runtime)
    found = PROFILER_OF[job.record.runtime](job)
    rows = merged(found.rows, found.counted)
    return Profile(
        rows=rows,
        request_ms=middle_mean(found.plain_ms),
        profiled_ms=sum(row.self_ms for row in rows),
        passes=found.passes,
        requests=len(job.requests),
        roofline=job.roofline,
        facts=found.facts,
        notes=found.notes,
        products=job.products,
    )
