"""The capacity of a configuration: found in the store or built, then probed in a fresh process."""

from pathlib import Path

from tunefront.evaluators.evaluation.settings import EvaluationSettings, memory_limit
from tunefront.evaluators.interfaces.polled.capacity import CapacityResult, CapacitySearch
from tunefront.evaluators.isolation.call import function_name
from tunefront.evaluators.isolation.preload import open_imports
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import Task
from tunefront.evaluators.store.locks import in_use
from tunefront.spaces import Configuration, EvaluationError

from .inference import target_of
from .tasks.probes import CapacityRequest, find_capacity
from .workload import catalog_for

WHOLE = ("replicas", "tensor_parallel")
"""Choices by which a candidate is several processes."""


def measure_capacity(
    settings: EvaluationSettings,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    search: CapacitySearch,
) -> CapacityResult:
    """Search for the capacity of a complete configuration.

    An error becomes a result with this problem.

    Args:
        settings: The evaluation settings.
        configuration: The configuration.
        isolation: Starts the fresh process.
        log: File for its output.
        search: The search.
    """
    try:
        return _measured(settings, configuration, isolation, log, search)
    except EvaluationError as error:
        problem = f"{error} ({error.cause})"
        return CapacityResult(search=search, slo=settings.workload.slo, problem=problem)


def _measured(
    settings: EvaluationSettings,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    search: CapacitySearch,
) -> CapacityResult:
    """Search for the capacity.

    Raises:
        EvaluationError: With its cause, if the candidate is several processes, can't be built, or
            fails.
    """
    several = [name for name in WHOLE if configuration.integer(name) > 1]
    if several:
        raise EvaluationError(
            f"requests go to one process, but the trial has {several[0]} "
            f"{configuration.integer(several[0])}; the capacity of a trial with 1 can be measured",
            cause="unsupported",
        )
    found = target_of(settings, configuration, isolation, log)
    catalog = catalog_for(settings.workload)
    with (
        in_use(found.candidate, found.requests),
        isolation.cores(found.resources.cores, found.resources.gpus) as cores,
    ):
        task = Task(
            function=function_name(find_capacity),
            request=CapacityRequest(
                workload=settings.workload,
                candidate=found.candidate,
                configuration=configuration,
                requests=found.requests,
                search=search,
            ),
            result=CapacityResult,
            imports=open_imports(catalog, configuration.text("runtime")),
            log=log,
            timeout_s=settings.timeouts.measure_s + 2 * search.limit_s,
            cores=cores,
            devices=isolation.devices,
            memory_mb=memory_limit(settings, configuration),
            paths=tuple(str(Path(file).parent) for file in settings.workload.extensions),
        )
        return isolation.run(task)
