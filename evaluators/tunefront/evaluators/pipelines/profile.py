"""Profiling a trial's configuration: found in the store or built, then run as in a trial."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tunefront.evaluators.benchmark.target import Target
from tunefront.evaluators.evaluation.settings import EvaluationSettings, memory_limit
from tunefront.evaluators.isolation.call import function_name
from tunefront.evaluators.isolation.preload import BUILD_IMPORTS, imports_of, open_imports
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import ResultT, Task, TaskRequestT
from tunefront.evaluators.profiling.profile import Profile, Roofline
from tunefront.evaluators.store.locks import in_use
from tunefront.evaluators.store.store import Store, key_of
from tunefront.spaces import Catalog, Configuration, EvaluationError

from .inference import target_of
from .keys import build_spec, candidate_key, model_key
from .profiler import check_profiler
from .tasks.build import BuildRequest, build_marked
from .tasks.model_stage import ModelStage
from .tasks.profile import (
    ProductsRequest,
    ProfileRequest,
    RooflineRequest,
    count_products,
    find_roofline,
    profile,
)
from .workload import catalog_for, has_pipeline

PROFILED_S = 1.0
"""Approximate seconds for which requests are profiled."""


def profile_candidate(
    settings: EvaluationSettings,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    trace: Path,
) -> Profile:
    """Profile a configuration with its runtime's profiler, in a fresh process.

    Args:
        settings: The evaluation settings.
        configuration: The complete configuration to profile; of several replicas only one runs.
        isolation: Starts the fresh processes.
        log: File for the output of the tasks.
        trace: File to which the Chrome trace is written.

    Raises:
        EvaluationError: With its cause, if it can't be built, run or profiled; the cause is
            "unsupported" with tensor parallelism or without a profiler.
    """
    catalog = catalog_for(settings.workload)
    catalog.check_complete(configuration)
    if has_pipeline(settings.workload):
        raise EvaluationError(
            f"trials of task {settings.workload.task} have no profile", cause="unsupported"
        )
    check_profiler(catalog, configuration.text("runtime"))
    if configuration.integer("tensor_parallel") > 1:
        raise EvaluationError(
            "a model that several processes share can't be profiled: each would have a profile of "
            "its own; profile a trial with tensor_parallel 1",
            cause="unsupported",
        )
    with ExitStack() as held:
        return _Profiling(settings, configuration, isolation, log, held).run(trace)


class _Profiling:
    """The tasks of one profile; the products they use are locked through `held`."""

    def __init__(
        self,
        settings: EvaluationSettings,
        configuration: Configuration,
        isolation: Isolation,
        log: Path,
        held: ExitStack,
    ) -> None:
        self.settings = settings
        self.configuration = configuration
        self.isolation = isolation
        self.log = log
        self.held = held

    def run(self, trace: Path) -> Profile:
        found = target_of(self.settings, self.configuration, self.isolation, self.log)
        self.held.enter_context(in_use(found.candidate, found.requests))
        marked, products = self._marked(), self._products(found)
        with self.isolation.cores(found.cores, found.gpus) as cores:
            # In a separate process: torch, imported into another runtime's process, can deadlock.
            roofline_request = RooflineRequest(configuration=self.configuration)
            roofline = self._measure(
                find_roofline, roofline_request, Roofline, BUILD_IMPORTS, cores
            )
            request = ProfileRequest(
                candidate=found.candidate,
                marked=marked,
                products=products,
                roofline=roofline,
                requests=found.requests,
                threads=self.configuration.integer("threads"),
                seconds=PROFILED_S,
                trace=trace,
            )
            runtime = self.configuration.text("runtime")
            imports = open_imports(self.catalog, runtime)
            made = self._measure(profile, request, Profile, imports, cores)
        if found.replicas == 1:
            return made
        alone = f"one of {found.replicas} replicas, alone: it can be slower when all of them run"
        return replace(made, notes=[*made.notes, alone])

    def _marked(self) -> Path | None:
        """Return a build with a mark around each kernel; None if the runtime needs none.

        Needed for Inductor on the CPU, whose compiled code shows no kernels in a profile.
        """
        if not self._compiled or self.configuration["device"] != "cpu":
            return None
        key = key_of(kind="marked", candidate=candidate_key(self.settings, self.configuration))
        store = Store(Path(self.settings.store))
        return self.held.enter_context(store.held(key, self._build_marked))

    def _build_marked(self, folder: Path) -> None:
        request = BuildRequest(model=self._model, folder=folder)
        self._build(build_marked, request, type(None))

    def _products(self, found: Target) -> Mapping[str, float]:
        """Return operation counts for Inductor, whose calls carry no shapes; otherwise empty."""
        if not self._compiled:
            return {}
        request = ProductsRequest(model=self._model, requests=found.requests)
        return self._build(count_products, request, dict[str, float])

    @property
    def catalog(self) -> Catalog:
        """The catalogue of the configuration."""
        return catalog_for(self.settings.workload)

    @property
    def _compiled(self) -> bool:
        return self.configuration["runtime"] == "inductor"

    @property
    def _model(self) -> ModelStage:
        return ModelStage(
            workload=build_spec(self.settings.workload),
            configuration=self.configuration,
            store=Path(self.settings.store),
            model_key=model_key(self.settings, self.configuration),
        )

    def _build(
        self,
        function: Callable[[TaskRequestT], ResultT],
        request: TaskRequestT,
        result: type[ResultT],
    ) -> ResultT:
        """Run a task with the imports, the cores and the time of a build."""
        gpus = int(self.configuration["device"] != "cpu")
        with self.isolation.cores(self.settings.build_cores, gpus) as cores:
            task = self._task(function, request, result, BUILD_IMPORTS, cores)
            needs = imports_of(self.catalog, self.settings.workload.task, self.configuration)
            timeout_s = self.settings.timeouts.build_s
            return self.isolation.run(replace(task, needs=needs, timeout_s=timeout_s))

    def _measure(
        self,
        function: Callable[[TaskRequestT], ResultT],
        request: TaskRequestT,
        result: type[ResultT],
        imports: Sequence[str],
        cores: Sequence[int],
    ) -> ResultT:
        return self.isolation.run(self._task(function, request, result, imports, cores))

    def _task(
        self,
        function: Callable[[TaskRequestT], ResultT],
        request: TaskRequestT,
        result: type[ResultT],
        imports: Sequence[str],
        cores: Sequence[int],
    ) -> Task[ResultT]:
        return Task(
            function=function_name(function),
            request=request,
            result=result,
            imports=imports,
            log=self.log,
            timeout_s=self.settings.timeouts.measure_s,
            cores=cores,
            devices=self.isolation.devices,
            memory_mb=memory_limit(self.settings, self.configuration),
        )
