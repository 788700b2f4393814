"""The conformance suites over everything that an experiment adds to the catalogue."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tunefront.evaluators.exports.open import runtime_of
from tunefront.evaluators.extensions import builtin_catalog
from tunefront.evaluators.pipelines.workload import build_workload, catalog_for
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import Catalog, Hardware, Value, supported_formats

from .cases import RuntimeCase, layered_source
from .choices import CHOICE_CHECKS
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
            yield from _runtime(catalog, name, hardware)
    if spec.task not in known.names("workload"):
        case = WorkloadCase(build_workload(spec))
        for workload_check in WORKLOAD_CHECKS:
            yield _tried(f"workload {spec.task}", workload_check, case)


def _runtime(catalog: Catalog, name: str, hardware: Hardware) -> Iterator[CheckResult]:
    if missing := catalog.missing(name, hardware):
        names = ", ".join(one.name for one in missing)
        yield CheckResult(
            subject=f"runtime {name}", check="it is installed", problem=f"{names} not installed"
        )
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
