"""Profiling of a candidate with the profiler of its runtime."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from tunefront.evaluators.evaluation.built import CandidateRecord
from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.extensions import catalog_of
from tunefront.evaluators.interfaces.tensors import TensorEndpoint
from tunefront.evaluators.profiling.job import ProfileJob, ProfilerResult, middle_mean
from tunefront.evaluators.profiling.profile import Profile, merged
from tunefront.evaluators.runtimes.base import Built, OpenFolder
from tunefront.spaces import Catalog, Configuration, EvaluationError
from tunefront.spaces.catalog.execution import CUDA_GRAPHS

Profiler = Callable[[ProfileJob, OpenFolder], ProfilerResult]
"""The contract `profiler` of an extension of a runtime."""


WITHOUT_GRAPHS = "profiled without CUDA graphs, which hide the operators"
"""Note on a profile of a candidate that runs by CUDA graphs."""


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

    graphs = bool(record.complete.get(CUDA_GRAPHS.name))
    changed = {"threads": job.threads, CUDA_GRAPHS.name: False}
    configuration = Configuration({**record.complete, **changed})

    def open_folder(folder: Path) -> TensorEndpoint:
        settings = CandidateRecord.read(folder).settings
        endpoint = runtime.open(Built(folder=folder, settings=settings), configuration)
        assert isinstance(endpoint, TensorEndpoint)
        return endpoint

    found = cast(Profiler, catalog.provided("profiler", record.runtime))(job, open_folder)
    rows = merged(found.rows, found.counted)
    return Profile(
        rows=rows,
        request_ms=middle_mean(found.plain_ms),
        profiled_ms=sum(row.self_ms for row in rows),
        passes=found.passes,
        requests=len(job.requests),
        roofline=job.roofline,
        facts=found.facts,
        notes=(*found.notes, *([WITHOUT_GRAPHS] if graphs else [])),
        products=job.products,
    )
