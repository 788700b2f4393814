"""Runs the stages of one evaluation: times them, leases cores and GPUs, keeps their products."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tunefront.evaluators.benchmark.gpu_checks import gpus_probed
from tunefront.evaluators.evaluation.evaluation import WAITING
from tunefront.evaluators.evaluation.settings import EvaluationSettings
from tunefront.evaluators.isolation.interim import Monitor
from tunefront.evaluators.isolation.process import Isolation
from tunefront.evaluators.isolation.task import ResultT, Task
from tunefront.evaluators.store.eviction import make_room, size_of
from tunefront.evaluators.store.store import Store
from tunefront.spaces import Resources

LEAST_FREE_BYTES = 2**30
"""Minimum free bytes on the store's disk before a build."""
MODEL_COPIES = 3
"""Copies of the model that a build can write: pruned, converted, built."""
OnStage = Callable[[str], None]
"""Called with each stage when it begins."""
MakeTask = Callable[[Path], Task[Any]]
"""Returns the task that fills a new, empty folder with a product."""


class StageRunner:
    """Runs the stages of one evaluation.

    It times the stages, records which products were found in the store, and locks the products
    that are used against eviction until it is closed.

    Args:
        settings: The evaluation settings.
        isolation: Starts the fresh processes.
        log: File for the output of the tasks.
        stages: Names of the pipeline's stages, in their order.
        on_stage: Called with each stage when it begins.
    """

    def __init__(
        self,
        settings: EvaluationSettings,
        isolation: Isolation,
        log: Path,
        stages: Sequence[str],
        on_stage: OnStage = lambda stage: None,
    ) -> None:
        self.settings = settings
        self.isolation = isolation
        self.log = log
        self.store = Store(Path(settings.store))
        self.seconds: dict[str, float] = {WAITING: 0.0}
        """Seconds by stage, without waiting; and seconds of waiting."""
        self.reused: list[str] = []
        """Names of the products that were found in the store."""
        self.current = stages[0]
        """The stage that runs, or that ran last."""
        self._stages = tuple(stages)
        self._on_stage = on_stage
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @contextmanager
    def stage(self, name: str, resources: Resources | None = None) -> Iterator[Sequence[int]]:
        """Run a stage: lease what it needs and time it; waiting for that is not part of its time.

        Args:
            name: Name of the stage, one of the pipeline's.
            resources: What it needs; without it nothing is leased. `Isolation.devices` names the
                GPUs.

        Raises:
            ValueError: If the pipeline has no stage of this name.
            EvaluationError: With the cause "timeout", if cores or GPUs are not free at the
                deadline; with the cause "device", if a GPU is broken.
        """
        if name not in self._stages:
            raise ValueError(f"unknown stage {name!r}; the stages are {', '.join(self._stages)}")
        if resources is None:
            with self._timed(name):
                yield ()
            return
        start = time.perf_counter()
        with self.isolation.cores(resources.cores, resources.gpus) as cores:
            self.waited(time.perf_counter() - start)
            with self._timed(name), gpus_probed(self.isolation, self.log):
                yield cores

    def waited(self, seconds: float) -> None:
        """Count seconds of waiting; they are not part of the stage that runs."""
        self.seconds[WAITING] += seconds

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        self.current = name
        self._on_stage(name)
        start, waited = time.perf_counter(), self.seconds[WAITING]
        try:
            yield
        finally:
            waited = self.seconds[WAITING] - waited
            spent_s = time.perf_counter() - start - waited
            self.seconds[name] = self.seconds.get(name, 0.0) + spent_s

    def keep(self, name: str, key: str, task: MakeTask) -> Path:
        """Return the folder of a product: found under its key, or made by a task.

        It is locked until the runner is closed.

        Args:
            name: Name of the product, for `reused`.
            key: Its store key.
            task: Returns the task that makes it.

        Raises:
            EvaluationError: With its cause, if the task fails.
        """
        made = False

        def make(folder: Path) -> None:
            nonlocal made
            made = True
            make_room(self.store.root, self._needed_bytes())
            self.run(task(folder))

        path = self._held.enter_context(self.store.held(key, make))
        if not made:
            self.reused.append(name)
        return path

    def run(self, task: Task[ResultT], monitor: Monitor | None = None) -> ResultT:
        """Run a task and return its result; it can import modules of the extensions' folders.

        Args:
            task: The task.
            monitor: Decides on the task's interim reports.

        Raises:
            EvaluationError: With its cause, if the task fails.
        """
        files = self.settings.workload.extensions
        paths = dict.fromkeys((*task.paths, *(str(Path(file).parent) for file in files)))
        return self.isolation.run(replace(task, paths=tuple(paths)), monitor)

    def _needed_bytes(self) -> int:
        """Return the free bytes needed for a build: a minimum, more for large safetensors files."""
        spec = self.settings.workload
        files = spec.path(spec.model).glob("*.safetensors") if spec.model else ()
        weights = sum(size_of(file) for file in files)
        return max(LEAST_FREE_BYTES, MODEL_COPIES * weights)
