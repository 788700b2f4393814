"""The products of a configuration in the store, each made by a task if it is missing."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tunefront.evaluators.evaluation.settings import memory_limit
from tunefront.evaluators.isolation.call import function_name
from tunefront.evaluators.isolation.preload import BUILD_IMPORTS, imports_of
from tunefront.evaluators.isolation.task import Task, TaskRequestT
from tunefront.evaluators.store.store import environment_of, key_of
from tunefront.spaces import Configuration, detect_hardware

from .keys import (
    build_spec,
    candidate_key,
    content_of,
    model_key,
    quality_key,
    quality_spec,
    trace_content,
)
from .stage_runner import StageRunner
from .tasks.build import BuildRequest, build, outputs_key
from .tasks.export import ExportRequest, write_export
from .tasks.model_stage import ModelStage
from .tasks.quality import QualityRequest, QualityStopping, write_candidate_quality
from .tasks.reference import ReferenceRequest, write_reference
from .tasks.requests import RequestFiles, write_requests
from .workload import build_workload, catalog_for, declared_values


class Products:
    """The products of one configuration: requests, reference, candidate, quality.

    Args:
        run: Keeps the products and runs the tasks that make them.
        configuration: The complete configuration.
    """

    def __init__(self, run: StageRunner, configuration: Configuration) -> None:
        self._run = run
        self._settings = run.settings
        self._configuration = configuration
        self._candidate_key = candidate_key(run.settings, configuration)
        self._model_key = model_key(run.settings, configuration)
        self._device = configuration.text("device")

    def requests(self, cores: Sequence[int]) -> Path:
        """Return the folder of the requests that speed is measured with."""
        settings = self._settings
        configuration = self._configuration
        batch_size = configuration.integer("batch_size")
        protocol = settings.protocol
        key = key_of(
            kind="requests",
            trace=trace_content(settings.workload),
            workload=settings.fingerprint,
            spec=content_of(settings.workload),
            batch_size=batch_size,
            parts=protocol.requests,
            part_items=protocol.part_items,
            declared=dict(declared_values(settings.workload, configuration)),
            environment=environment_of(detect_hardware()),
        )

        def task(folder: Path) -> Task[None]:
            request = RequestFiles(
                workload=settings.workload,
                configuration=configuration,
                parts=protocol.requests,
                part_items=protocol.part_items,
                folder=folder,
            )
            return self._task(write_requests, request, cores, settings.timeouts.build_s, "cpu")

        return self._run.keep("requests", key, task)

    def reference(self, cores: Sequence[int]) -> Path:
        """Return the folder of the quality and predictions that candidates are compared with.

        They are those of the unchanged module, with the baseline's values of declared choices and
        on the baseline's device; where there is no such module, those of the baseline.
        """
        settings = self._settings
        if self._compared_with_baseline():
            baseline = Products(self._run, Configuration(settings.baseline))
            return baseline.quality(baseline.candidate(cores), baseline.reference(cores), cores)
        configuration = (
            Configuration(settings.baseline) if settings.baseline else self._configuration
        )
        device, spec = configuration["device"], quality_spec(settings.workload)
        key = key_of(
            kind="reference",
            workload=settings.fingerprint,
            spec=content_of(spec),
            environment=environment_of(detect_hardware()),
            declared=dict(declared_values(settings.workload, configuration)),
            **({} if device == "cpu" else {"device": device}),
        )

        def task(folder: Path) -> Task[None]:
            request = ReferenceRequest(workload=spec, configuration=configuration, folder=folder)
            device = configuration.text("device")
            return self._task(write_reference, request, cores, settings.timeouts.quality_s, device)

        return self._run.keep("reference", key, task)

    def candidate(self, cores: Sequence[int]) -> Path:
        """Return the folder of the built candidate."""
        model = ModelStage(
            workload=build_spec(self._settings.workload),
            configuration=self._configuration,
            store=Path(self._settings.store),
            model_key=self._model_key,
        )

        def task(folder: Path) -> Task[None]:
            request = BuildRequest(model=model, folder=folder)
            return self._task(build, request, cores, self._settings.timeouts.build_s)

        return self._run.keep("candidate", self._candidate_key, task)

    def has_quality(self) -> bool:
        """Return whether the candidate's quality over all items is stored."""
        return self._run.store.find(self._quality_key()) is not None

    def quality(
        self, candidate: Path, reference: Path, cores: Sequence[int], stopped: bool = False
    ) -> Path:
        """Return the folder of the candidate's quality; its evaluation can stop early.

        Args:
            candidate: Folder of the candidate.
            reference: Folder of the reference's quality.
            cores: The leased cores.
            stopped: Whether the trial was stopped early, so that a part of the items is enough.
        """
        key, stopping = self._quality_key(), self._stopping(stopped)
        if stopping is not None and self._run.store.find(key) is None:
            # A result that stopped early is valid only for its limit and baseline.
            baseline = candidate_key(self._settings, Configuration(self._settings.baseline))
            key = key_of(
                kind="partly evaluated quality",
                quality=key,
                baseline=baseline,
                limit=stopping.limit,
                keeping_counts=stopping.keeping_counts,
            )
        return self._run.keep(
            "quality",
            key,
            lambda folder: self.quality_task(folder, candidate, reference, cores, stopping),
        )

    def quality_task(
        self,
        folder: Path,
        candidate: Path,
        reference: Path,
        cores: Sequence[int],
        stopping: QualityStopping | None = None,
    ) -> Task[None]:
        """Return the task that writes a candidate's quality to a folder."""
        request = QualityRequest(
            workload=quality_spec(self._settings.workload),
            configuration=self._configuration,
            candidate=candidate,
            reference=reference,
            threads=len(cores),
            outputs=self._run.store.path(outputs_key(self._model_key, self._device)),
            folder=folder,
            stopping=stopping,
        )
        timeout_s = self._settings.timeouts.quality_s
        return self._task(write_candidate_quality, request, cores, timeout_s)

    def export_task(self, folder: Path, cores: Sequence[int]) -> Task[None]:
        """Return the task that fills a folder with an export; the candidate is built if missing."""
        request = ExportRequest(
            workload=self._settings.workload,
            configuration=self._configuration,
            candidate=self.candidate(cores),
            requests=self.requests(cores),
            folder=folder,
        )
        return self._task(write_export, request, cores, self._settings.timeouts.build_s)

    def _compared_with_baseline(self) -> bool:
        """Return whether the outputs are compared with those of the baseline, which is another."""
        baseline = Configuration(self._settings.baseline)
        if not baseline or not build_workload(self._settings.workload).compared_with_baseline:
            return False
        return quality_key(self._settings, baseline) != self._quality_key()

    def _quality_key(self) -> str:
        return quality_key(self._settings, self._configuration)

    def _stopping(self, stopped: bool) -> QualityStopping | None:
        """Return when to stop the quality evaluation early.

        None without a limit (unless the trial was stopped early), without a stored quality of the
        baseline, and for a candidate that is the baseline's.
        """
        settings = self._settings
        if (settings.quality_limit is None and not stopped) or not settings.baseline:
            return None
        baseline = quality_key(settings, Configuration(settings.baseline))
        path = self._run.store.find(baseline)
        if path is None or baseline == self._quality_key():
            return None
        return QualityStopping(
            limit=None if stopped else settings.quality_limit,
            keeping_counts=not settings.quality_matters,
            baseline=path,
        )

    def _task(
        self,
        function: Callable[[TaskRequestT], None],
        request: TaskRequestT,
        cores: Sequence[int],
        timeout_s: float,
        device: str = "",
    ) -> Task[None]:
        """Return a task that fills a folder, with the imports of a build.

        It has the GPUs of the current lease, unless its device (the configuration's if not named)
        is the CPU.
        """
        on_cpu = (device or self._configuration.text("device")) == "cpu"
        return Task(
            function=function_name(function),
            request=request,
            result=type(None),
            imports=BUILD_IMPORTS,
            needs=imports_of(
                catalog_for(self._settings.workload),
                self._settings.workload.task,
                self._configuration,
            ),
            log=self._run.log,
            timeout_s=timeout_s,
            cores=cores,
            devices=() if on_cpu else self._run.isolation.devices,
            memory_mb=memory_limit(self._settings, self._configuration),
        )
