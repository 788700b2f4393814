"""Profiling a candidate with its runtime's own profiler."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tunefront.evaluators.profiling.job import Found, ProfileJob, middle_mean
from tunefront.evaluators.profiling.profile import Profile, merged
from tunefront.evaluators.runtimes.onnxruntime.profiler import profile_onnx
from tunefront.evaluators.runtimes.openvino.profiler import profile_openvino
from tunefront.evaluators.runtimes.torch.profiler import profile_torch
from tunefront.spaces import EvaluationError

PROFILER_OF: Mapping[str, Callable[[ProfileJob], Found]] = MappingProxyType(
    {
        "torch": profile_torch,
        "inductor": profile_torch,
        "onnxruntime": profile_onnx,
        "openvino": profile_openvino,
    }
)
"""What profiles a candidate, by its runtime."""


def check_profiler(runtime: str) -> None:
    """Refuse a runtime that has no profiler.

    Raises:
        EvaluationError: With the cause "unsupported" and the runtimes that have one.
    """
    if runtime not in PROFILER_OF:
        raise EvaluationError(
            f"runtime {runtime} has no profiler; trials of {', '.join(PROFILER_OF)} can be "
            "profiled",
            cause="unsupported",
        )


def profile_job(job: ProfileJob) -> Profile:
    """Profile a candidate in this process."""
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
