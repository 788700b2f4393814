"""Profiling of a candidate with the profiler of its runtime."""

from tunefront.evaluators.profiling.job import ProfileJob, middle_mean
from tunefront.evaluators.profiling.profile import Profile, merged
from tunefront.spaces import EvaluationError

from .base import Runtime


def check_profiler(runtime: Runtime) -> None:
    """Check that a runtime has a profiler.

    Raises:
        EvaluationError: If it has none (cause "unsupported").
    """
    if not runtime.has_profiler:
        raise EvaluationError(
            f"runtime {runtime.name} has no profiler; profile a trial of another runtime",
            cause="unsupported",
        )


def profile_job(runtime: Runtime, job: ProfileJob) -> Profile:
    """Profile a candidate in this process.

    Raises:
        EvaluationError: If its runtime has no profiler (cause "unsupported").
    """
    check_profiler(runtime)
    found = runtime.profile(job)
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
