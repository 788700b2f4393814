"""Profiling a trial's configuration: found in the store or built, then run as in a trial."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from tunefront.evaluators.benchmark.interleaved import Target
from tunefront.evaluators.evaluation.settings import EvaluationSettings, devices, memory_limit
from tunefront.evaluators.isolation.cores import lease_cores
from tunefront.evaluators.isolation.preload import imports_of
from tunefront.evaluators.isolation.process import Isolation, Kit, Step
from tunefront.evaluators.profiling.profile import Profile
from tunefront.evaluators.store.locks import in_use
from tunefront.evaluators.store.store import Store, key_of
from tunefront.spaces import Configuration, EvaluationError

from .inference import contender
from .keys import candidate_key, model_key
from .profiler import check_profiler
from .workload import catalog_for

PROFILED_S = 1.0
"""Approximate seconds for which requests are profiled."""


def profile_candidate(
    setting: EvaluationSettings,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    trace: Path,
) -> Profile:
    """Profile a configuration with its runtime's profiler, in a fresh process.

    Args:
        setting: The evaluation settings.
        configuration: The complete configuration to profile; of several replicas only one runs.
        isolation: Starts the fresh processes.
        log: File for the output of the steps.
        trace: File to which the Chrome trace is written.

    Raises:
        EvaluationError: With its cause, if it can't be built, run or profiled; the cause is
            "unsupported" with tensor parallelism or without a profiler.
    """
    catalog = catalog_for(setting.workload)
    catalog.check_complete(configuration)
    check_profiler(catalog, configuration.text("runtime"))
    if configuration.integer("tensor_parallel") > 1:
        raise EvaluationError(
            "a model that several processes share can't be profiled: each would have a profile of "
            "its own; profile a trial with tensor_parallel 1",
            cause="unsupported",
        )
    with ExitStack() as held:
        return _Profiling(setting, configuration, isolation, log, held).run(trace)


class _Profiling:
    """The steps of one profile; the products they use are locked through `held`."""

    def __init__(
        self,
        setting: EvaluationSettings,
        configuration: Configuration,
        isolation: Isolation,
        log: Path,
        held: ExitStack,
    ) -> None:
        self.setting = setting
        self.configuration = configuration
        self.isolation = isolation
        self.log = log
        self.held = held

    def run(self, trace: Path) -> Profile:
        timeouts = self.setting.timeouts
        found = contender(self.setting, self.configuration, self.isolation, self.log)
        self.held.enter_context(in_use(found.candidate, found.requests))
        payload = {
            "candidate": str(found.candidate),
            "marked": self._marked(),
            "products": self._products(found),
            "requests": str(found.requests),
            "threads": self.configuration.integer("threads"),
            "seconds": PROFILED_S,
            "trace": str(trace),
        }
        kit = cast(Kit, self.configuration.text("runtime"))
        with lease_cores(found.cores) as cores:
            # In a separate process: torch, imported into another runtime's process, can deadlock.
            own = {"configuration": dict(self.configuration)}
            roofline = self._step("roofline", own, "torch", cores, timeouts.measure_s)
            payload = {**payload, "roofline": roofline}
            made = Profile.from_dict(self._step("profile", payload, kit, cores, timeouts.measure_s))
        if found.replicas == 1:
            return made
        alone = f"one of {found.replicas} replicas, alone: beside the others it may be slower"
        return replace(made, notes=[*made.notes, alone])

    def _marked(self) -> str:
        """Return a build with a mark around each kernel; empty if the runtime needs none.

        Needed for Inductor on the CPU, whose compiled code shows no kernels in a profile.
        """
        if not self._compiled or self.configuration["device"] != "cpu":
            return ""
        key = key_of(kind="marked", candidate=candidate_key(self.setting, self.configuration))
        store = Store(Path(self.setting.store))
        return str(self.held.enter_context(store.held(key, self._build_marked)))

    def _build_marked(self, folder: Path) -> None:
        self._build_step("build_marked", {"folder": str(folder)})

    def _products(self, found: Target) -> Mapping[str, Any]:
        """Return operation counts for Inductor, whose calls carry no shapes; otherwise empty."""
        if not self._compiled:
            return {}
        return self._build_step("count_products", {"requests": str(found.requests)})

    @property
    def _compiled(self) -> bool:
        return self.configuration["runtime"] == "inductor"

    def _build_step(self, name: str, more: Mapping[str, object]) -> Mapping[str, Any]:
        payload = {
            "workload": self.setting.workload.to_dict(),
            "configuration": dict(self.configuration),
            "store": self.setting.store,
            "model_key": model_key(self.setting, self.configuration),
            **more,
        }
        with lease_cores(self.setting.build_cores) as cores:
            return self._step(name, payload, "build", cores, self.setting.timeouts.build_s)

    def _step(
        self,
        name: str,
        payload: Mapping[str, object],
        kit: Kit,
        cores: Sequence[int],
        timeout_s: float,
    ) -> Mapping[str, Any]:
        builds = kit == "build"
        needs = imports_of(self.setting.workload.task, self.configuration) if builds else ()
        return self.isolation.run(
            Step(
                name=name,
                payload=payload,
                kit=kit,
                needs=needs,
                log=self.log,
                timeout_s=timeout_s,
                cores=cores,
                environment=devices(),
                memory_mb=memory_limit(self.setting, self.configuration),
            )
        )
