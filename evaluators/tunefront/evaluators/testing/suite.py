"""The conformance suites over everything that an experiment adds to the catalogue."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.extensions import builtin_catalog
from tunefront.evaluators.measures.base import Measure
from tunefront.evaluators.pipelines.selection import pipeline_of
from tunefront.evaluators.pipelines.workload import build_workload, catalog_for, has_pipeline
from tunefront.evaluators.runtimes.base import Source
from tunefront.evaluators.workloads.base import GenerationWorkload, HttpWorkload, TensorWorkload
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Catalog, Hardware, Value, supported_formats

from .cases import RuntimeCase, kept_below, layered_source
from .choices import CHOICE_CHECKS
from .generation import ENGINE_CHECKS, GENERATION_WORKLOAD_CHECKS, EngineCase
from .http import HTTP_WORKLOAD_CHECKS, SERVICE_CHECKS, ServiceCase
from .pipelines import MEASURE_CHECKS, PIPELINE_CHECKS, MeasureCase, PipelineCase
from .runtimes import RUNTIME_CHECKS
from .workloads import WORKLOAD_CHECKS, WorkloadCase


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check.

    Attributes:
        subject: What was checked, such as `runtime my_runtime (fp32)`.
        check: Name of the check.
        problem: What is wrong; empty if nothing is.
    """

    subject: str
    check: str
    problem: str = ""


def check_additions(spec: WorkloadSpec, hardware: Hardware) -> Iterator[CheckResult]:
    """Run the suites on the choices, runtimes and workload that an experiment adds.

    Runtimes are tried with a small module in every number format that they support here.

    Args:
        spec: The workload of the experiment.
        hardware: The machine.
    """
    catalog, known = catalog_for(spec), builtin_catalog()
    for name in catalog.kinds:
        if name not in known.kinds:
            for check in CHOICE_CHECKS:
                yield _tried(f"choice {name}", check, catalog, name)
    for name in catalog.names("runtime"):
        if name not in known.names("runtime"):
            yield from _runtime(catalog, name, hardware, spec)
    for name in catalog.names("measure"):
        if name not in known.names("measure"):
            measure = cast(Callable[[], Measure], catalog.provided("measure", name))()
            watched = MeasureCase(measure, catalog.extension(name), hardware)
            for measure_check in MEASURE_CHECKS:
                yield _tried(f"measure {name}", measure_check, watched)
    if has_pipeline(spec):
        command = PipelineCase(pipeline_of(spec), spec, catalog.extension(spec.task))
        for pipeline_check in PIPELINE_CHECKS:
            yield _tried(f"pipeline {spec.task}", pipeline_check, command)
    elif spec.task not in known.names("workload"):
        workload = build_workload(spec)
        if isinstance(workload, TensorWorkload):
            case = WorkloadCase(workload)
            for workload_check in WORKLOAD_CHECKS:
                yield _tried(f"workload {spec.task}", workload_check, case)
        if isinstance(workload, GenerationWorkload):
            for generation_check in GENERATION_WORKLOAD_CHECKS:
                yield _tried(f"workload {spec.task}", generation_check, workload)
        if isinstance(workload, HttpWorkload):
            for http_check in HTTP_WORKLOAD_CHECKS:
                yield _tried(f"workload {spec.task}", http_check, workload)


def _runtime(
    catalog: Catalog, name: str, hardware: Hardware, spec: WorkloadSpec
) -> Iterator[CheckResult]:
    if missing := catalog.missing(name, hardware):
        names = ", ".join(one.name for one in missing)
        yield CheckResult(
            subject=f"runtime {name}", check="it is installed", problem=f"{names} not installed"
        )
        return
    if "generation" in catalog.extension(name).interfaces:
        yield from _engine(catalog, name, hardware, spec)
        return
    if "http" in catalog.extension(name).interfaces:
        yield from _service(catalog, name, hardware, spec)
        return
    for values in supported_formats(catalog, name, hardware):
        with tempfile.TemporaryDirectory(prefix="tunefront-") as folder:
            built = Path(folder, "built")
            built.mkdir()
            case = RuntimeCase(
                catalog=catalog,
                runtime=runtime_of(catalog, name),
                configuration=catalog.complete({**values, "runtime": name}),
                make_source=partial(layered_source, hardware, Path(folder, "shared")),
                folder=built,
            )
            for check in (*RUNTIME_CHECKS, RuntimeCase.close):
                yield _tried(f"runtime {name} ({_format(values)})", check, case)


def _engine(
    catalog: Catalog, name: str, hardware: Hardware, spec: WorkloadSpec
) -> Iterator[CheckResult]:
    """Try an engine with the experiment's model, in every number format that it supports."""
    workload = build_workload(spec)
    if not isinstance(workload, GenerationWorkload):
        problem = f"task {spec.task} generates no text; try it in an experiment that does"
        yield CheckResult(subject=f"runtime {name}", check="it is tried", problem=problem)
        return
    for values in supported_formats(catalog, name, hardware):
        with tempfile.TemporaryDirectory(prefix="tunefront-") as folder:
            built = Path(folder, "built")
            built.mkdir()
            case = EngineCase(
                catalog=catalog,
                runtime=runtime_of(catalog, name),
                configuration=catalog.complete({**values, "runtime": name}),
                source=Source(
                    module=workload.load_module,
                    shared=partial(kept_below, Path(folder, "shared")),
                    hardware=hardware,
                    prompts=workload.requests(1, 4),
                    unchanged=workload.checkpoint(),
                ),
                folder=built,
            )
            for check in ENGINE_CHECKS:
                yield _tried(f"runtime {name} ({_format(values)})", check, case)


def _service(
    catalog: Catalog, name: str, hardware: Hardware, spec: WorkloadSpec
) -> Iterator[CheckResult]:
    """Try a runtime of services with the experiment's requests, in every number format."""
    workload = build_workload(spec)
    if not isinstance(workload, HttpWorkload):
        problem = f"task {spec.task} sends no requests over HTTP; try it in an experiment that does"
        yield CheckResult(subject=f"runtime {name}", check="it is tried", problem=problem)
        return
    for values in supported_formats(catalog, name, hardware):
        with tempfile.TemporaryDirectory(prefix="tunefront-") as folder:
            built = Path(folder, "built")
            built.mkdir()
            case = ServiceCase(
                catalog=catalog,
                runtime=runtime_of(catalog, name),
                configuration=catalog.complete({**values, "runtime": name}),
                source=Source(
                    module=workload.load_module,
                    shared=partial(kept_below, Path(folder, "shared")),
                    hardware=hardware,
                    interface=workload.interface,
                    unchanged=workload.checkpoint(),
                    server=spec.server,
                ),
                folder=built,
                requests=tuple(workload.requests(1, 4)),
            )
            for check in SERVICE_CHECKS:
                yield _tried(f"runtime {name} ({_format(values)})", check, case)


def _format(values: Mapping[str, Value]) -> str:
    return " ".join(str(value) for value in values.values())


def _tried(subject: str, check: Callable[..., None], *arguments: object) -> CheckResult:
    name = check.__name__.replace("_", " ")
    try:
        check(*arguments)
    except Exception as error:  # a user's code can raise anything; the next case still runs
        problem = str(error) or type(error).__name__
        return CheckResult(subject=subject, check=name, problem=problem)
    return CheckResult(subject=subject, check=name)
