"""Profiling of a candidate with the profiler of its runtime."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.extensions import catalog_of
from tunefront.evaluators.profiling.job import ProfileJob, ProfilerResult, middle_mean
from tunefront.evaluators.profiling.profile import Profile, merged
from tunefront.evaluators.runtimes.base import Candidate, LoadFolder
from tunefront.spaces import Catalog, EvaluationError

Profiler = Callable[[ProfileJob, LoadFolder], ProfilerResult]
"""The contract `profiler` of an extension of a runtime."""


def check_profiler(catalog: Catalog, runtime: str) -> None:
    """Check that a runtime has a profiler.

    Raises:
        EvaluationError: If it has none (cause "unsupported"); the message lists those that have.
    """
    known = catalog.names("profiler")
    if runtime not in known:
        raise EvaluationError(
            f"runtime {runtime} has no profiler; trials of {', '.join(known)} can be profiled",
            cause="unsupported",
        )


def profile_job(job: ProfileJob) -> Profile:
    """Profile a candidate in this process.

    Raises:
        EvaluationError: If its runtime has no profiler (cause "unsupported").
    """
    record = job.record
    catalog = catalog_of(record.extensions)
    check_profiler(catalog, record.runtime)
    runtime = runtime_of(catalog, record.runtime)

    def load(folder: Path) -> Candidate:
        return runtime.load(folder, record.configuration, record.settings, job.threads)

    found = cast(Profiler, catalog.provided("profiler", record.runtime))(job, load)
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
