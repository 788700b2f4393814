"""The inference pipeline: from a configuration to its measurements.

    model stage      techniques applied to the torch module     key: workload + model choices
    runtime stage    built for a runtime, precision, bits       key: + runtime choices
    quality          once per candidate                         key: the candidate's
    execution stage  batch size, threads, replicas: speed and memory, measured every time

Every task runs in a fresh process (isolation/process.py); products of stages are kept in the store
(store/store.py).
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from tunefront.evaluators.benchmark.interleaved import InterleavedRun, Target, take_turns
from tunefront.evaluators.benchmark.outcome import (
    InterimMonitor,
    Judge,
    digits,
    measured,
    plain_look,
)
from tunefront.evaluators.evaluation.evaluation import WAITING, Evaluation, EvaluationStage
from tunefront.evaluators.evaluation.protocol import enough
from tunefront.evaluators.evaluation.settings import (
    EvaluationSettings,
    Timeouts,
    devices,
    memory_limit,
)
from tunefront.evaluators.isolation.call import function_name
from tunefront.evaluators.isolation.cores import lease_cores
from tunefront.evaluators.isolation.preload import IMPORT_PROFILES, imports_of
from tunefront.evaluators.isolation.process import Isolation, last_lines
from tunefront.evaluators.isolation.task import RequestT, Task
from tunefront.evaluators.measures.gpu import Gpus
from tunefront.evaluators.measures.memory import folder_mb
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Timing
from tunefront.evaluators.store.disk import is_full
from tunefront.evaluators.store.eviction import make_room, size_of
from tunefront.evaluators.store.store import Store, environment_of, key_of
from tunefront.evaluators.workloads.outputs import read_samples
from tunefront.evaluators.workloads.quality import read_items, read_metrics
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import (
    Configuration,
    EvaluationError,
    FailureCause,
    WorkloadError,
    detect_hardware,
)

from .keys import candidate_key, content_of, model_key
from .tasks.build import BuildRequest, build
from .tasks.describe import DescribeRequest, WorkloadDescription, describe
from .tasks.export import ExportRequest, write_export
from .tasks.model_stage import ModelStage
from .tasks.quality import QualityRequest, QualityStopping, write_candidate_quality
from .tasks.reference import ReferenceRequest, write_reference
from .tasks.requests import RequestFiles, write_requests

ROOM = 3.0
"""Estimated memory of a running candidate as a multiple of its files; a conservative guess."""
ROOM_MB = 700.0
"""Memory in MB for a runtime's libraries and buffers, for each target."""
LEAST_FREE_BYTES = 2**30
"""Minimum free bytes on the store's disk before a build."""
MODEL_COPIES = 3
"""Copies of the model that a build can write: pruned, converted, built."""


OnStage = Callable[[EvaluationStage], None]
"""Called with each stage when it begins."""


def describe_workload(
    workload: WorkloadSpec, isolation: Isolation, log: Path
) -> WorkloadDescription:
    """Check a workload's model and data in a fresh process; return its fingerprint and size.

    Raises:
        WorkloadError: If the model or the data can't be used.
    """
    task = Task(
        function=function_name(describe),
        request=DescribeRequest(workload=workload),
        result=WorkloadDescription,
        imports=IMPORT_PROFILES["build"],
        needs=imports_of(workload.task),
        log=log,
        timeout_s=Timeouts().build_s,
    )
    try:
        return isolation.run(task)
    except EvaluationError as error:
        raise WorkloadError(f"workload: {error} ({error.cause}); see {log}") from error


def evaluate(
    setting: EvaluationSettings,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    on_stage: OnStage = lambda stage: None,
    judge: Judge = plain_look,
) -> Evaluation:
    """Evaluate a configuration: build and evaluate quality unless stored, then measure.

    Any error of the evaluation becomes a failed evaluation instead of being raised.

    Args:
        setting: The evaluation settings.
        configuration: The configuration to evaluate; it must be complete.
        isolation: Starts the fresh processes.
        log: File for the output of the tasks.
        on_stage: Called with each stage when it begins.
        judge: The early-stop rule, applied to the interim result after the first turns.

    Raises:
        SpaceError: If the configuration is not complete.
    """
    with _EvaluationRun(setting, configuration, isolation, log, on_stage, judge) as path:
        return path.walk()


class _EvaluationRun:
    """One evaluation: times its stages, records reuse, and locks its products against eviction."""

    def __init__(
        self,
        setting: EvaluationSettings,
        configuration: Configuration,
        isolation: Isolation,
        log: Path,
        on_stage: OnStage = lambda stage: None,
        judge: Judge = plain_look,
    ) -> None:
        self.on_stage = on_stage
        self.judge = judge
        self.setting = setting
        self.configuration = configuration
        self.isolation = isolation
        self.log = log
        self.store = Store(Path(setting.store))
        self.model_key = model_key(setting, configuration)
        self.candidate_key = candidate_key(setting, configuration)
        self.seconds: dict[str, float] = {WAITING: 0.0}
        self.reused: list[str] = []
        self.stage: EvaluationStage = "prepare"
        self.held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.held.close()

    def walk(self) -> Evaluation:
        start = time.perf_counter()
        try:
            found = self._walk()
        except Exception as error:  # the trial's border: any error is recorded as its result
            self._note_unexpected(error)
            self.seconds["total"] = time.perf_counter() - start
            return Evaluation(
                status="failed",
                cause=_cause(error),
                stage=self.stage,
                message=str(error) or type(error).__name__,
                log=tuple(last_lines(self.log)),
                seconds=self.seconds,
                reused=tuple(self.reused),
            )
        self.seconds["total"] = time.perf_counter() - start
        return replace(found, seconds=self.seconds, reused=tuple(self.reused))

    def _note_unexpected(self, error: Exception) -> None:
        """Write the traceback of an unexpected error to the log."""
        if not isinstance(error, EvaluationError | WorkloadError):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a") as log:
                traceback.print_exc(file=log)

    def _walk(self) -> Evaluation:
        with self._leased("prepare") as cores:
            requests = self._requests(cores)
        with self._leased("build") as cores:
            candidate = self._candidate(cores)
        with self._leased("quality") as cores:
            quality = self._quality(candidate, self._reference(cores), cores)
        with self._timed("measure"):
            return self._measure(candidate, requests, quality)

    def export(self, folder: Path) -> None:
        """Build the candidate unless it is stored, then fill `folder` in a fresh process."""
        with lease_cores(self.setting.build_cores) as cores:
            request = ExportRequest(
                workload=self.setting.workload,
                candidate=self._candidate(cores),
                requests=self._requests(cores),
                threads=self.configuration.integer("threads"),
                folder=folder,
            )
            self._run(write_export, request, cores, self.setting.timeouts.build_s)

    @contextmanager
    def _leased(self, stage: EvaluationStage) -> Iterator[Sequence[int]]:
        """Lease cores and time a stage on them; waiting for the cores is not part of its time."""
        start = time.perf_counter()
        with lease_cores(self.setting.build_cores) as cores:
            self.seconds[WAITING] += time.perf_counter() - start
            with self._timed(stage):
                yield cores

    @contextmanager
    def _timed(self, stage: EvaluationStage) -> Iterator[None]:
        self.stage = stage
        self.on_stage(stage)
        start, waited = time.perf_counter(), self.seconds[WAITING]
        try:
            yield
        finally:
            waited = self.seconds[WAITING] - waited
            self.seconds[stage] = time.perf_counter() - start - waited

    def _kept(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """Find or make the product of a step, locked until the evaluation is closed."""
        made = False

        def note(folder: Path) -> None:
            nonlocal made
            made = True
            make_room(self.store.root, self._needed_bytes())
            make(folder)

        path = self.held.enter_context(self.store.held(key, note))
        if not made:
            self.reused.append(name)
        return path

    def _needed_bytes(self) -> int:
        """Return the free bytes needed for a build: a minimum, more for large safetensors files."""
        spec = self.setting.workload
        weights = sum(size_of(file) for file in spec.path(spec.model).glob("*.safetensors"))
        return max(LEAST_FREE_BYTES, MODEL_COPIES * weights)

    def _run(
        self,
        function: Callable[[RequestT], None],
        request: RequestT,
        cores: Sequence[int],
        timeout_s: float,
    ) -> None:
        """Run a task that fills a folder, with the imports of a build."""
        self.isolation.run(
            Task(
                function=function_name(function),
                request=request,
                result=type(None),
                imports=IMPORT_PROFILES["build"],
                needs=imports_of(self.setting.workload.task, self.configuration),
                log=self.log,
                timeout_s=timeout_s,
                cores=cores,
                environment=devices(),
                memory_mb=memory_limit(self.setting, self.configuration),
            )
        )

    def _requests(self, cores: Sequence[int]) -> Path:
        workload, timeout_s = self.setting.workload, self.setting.timeouts.build_s
        batch_size = self.configuration.integer("batch_size")
        count = self.setting.protocol.requests
        key = key_of(
            kind="requests",
            workload=self.setting.fingerprint,
            spec=content_of(workload),
            batch_size=batch_size,
            count=count,
        )

        def make(folder: Path) -> None:
            request = RequestFiles(
                workload=workload, batch_size=batch_size, count=count, folder=folder
            )
            self._run(write_requests, request, cores, timeout_s)

        return self._kept("requests", key, make)

    def _reference(self, cores: Sequence[int]) -> Path:
        workload, timeout_s = self.setting.workload, self.setting.timeouts.quality_s
        key = key_of(
            kind="reference",
            workload=self.setting.fingerprint,
            spec=content_of(workload),
            environment=environment_of(detect_hardware()),
        )

        def make(folder: Path) -> None:
            request = ReferenceRequest(workload=workload, folder=folder)
            self._run(write_reference, request, cores, timeout_s)

        return self._kept("reference", key, make)

    def _candidate(self, cores: Sequence[int]) -> Path:
        model = ModelStage(
            workload=self.setting.workload,
            configuration=self.configuration,
            store=Path(self.setting.store),
            model_key=self.model_key,
        )

        def make(folder: Path) -> None:
            request = BuildRequest(model=model, folder=folder)
            self._run(build, request, cores, self.setting.timeouts.build_s)

        return self._kept("candidate", self.candidate_key, make)

    def _quality(self, candidate: Path, reference: Path, cores: Sequence[int]) -> Path:
        key, stopping = self._quality_key(), self._quality_stopping()
        if stopping is not None and self.store.find(key) is None:
            # A result that stopped early is valid only for its limit and baseline.
            baseline = candidate_key(self.setting, Configuration(self.setting.baseline))
            key = key_of(
                kind="quality",
                candidate=self.candidate_key,
                baseline=baseline,
                limit=stopping.limit,
                keeping_counts=stopping.keeping_counts,
            )

        def make(folder: Path) -> None:
            self.judge_into(folder, candidate, reference, cores, stopping)

        return self._kept("quality", key, make)

    def judge_into(
        self,
        folder: Path,
        candidate: Path,
        reference: Path,
        cores: Sequence[int],
        stopping: QualityStopping | None,
    ) -> None:
        """Write the quality of a candidate to a folder."""
        request = QualityRequest(
            workload=self.setting.workload,
            candidate=candidate,
            reference=reference,
            threads=len(cores),
            folder=folder,
            stopping=stopping,
        )
        self._run(write_candidate_quality, request, cores, self.setting.timeouts.quality_s)

    def _quality_key(self) -> str:
        return key_of(kind="quality", candidate=self.candidate_key)

    def _quality_stopping(self) -> QualityStopping | None:
        """Return when to stop the quality evaluation early.

        None without a limit, without a stored quality of the baseline, and for a candidate that is
        the baseline's.
        """
        setting = self.setting
        if setting.quality_limit is None or not setting.baseline:
            return None
        baseline = candidate_key(setting, Configuration(setting.baseline))
        path = self.store.find(key_of(kind="quality", candidate=baseline))
        if path is None or baseline == self.candidate_key:
            return None
        return QualityStopping(
            limit=setting.quality_limit,
            keeping_counts=not setting.quality_matters,
            baseline=path,
        )

    def _measure(self, candidate: Path, requests: Path, quality: Path) -> Evaluation:
        own = Target(configuration=self.configuration, candidate=candidate, requests=requests)
        looker = InterimMonitor(lambda session: self._found(session, quality), self.judge)
        session = take_turns(
            self.setting,
            [own, *self._beside(own)],
            self.isolation,
            self.log,
            self._enough,
            looker.ends,
        )
        self.seconds[WAITING] += session.queued_s + session.waited_s
        return looker.noted(self._found(session, quality))

    def _found(self, session: InterleavedRun, quality: Path) -> Evaluation:
        """Return the evaluation of an interleaved run together with the candidate's quality."""
        values, weights = read_items(quality)
        found = measured(self.setting.protocol, session)
        return replace(
            found,
            measurements={**found.measurements, **read_metrics(quality)},
            items=(digits(values), digits(weights)),
            samples=read_samples(quality),
            facts={**found.facts, "judged": int((weights > 0).sum()), "items": len(weights)},
        )

    def _enough(self, timings: Sequence[Timing], elapsed_s: float) -> bool:
        beside = timings[1] if len(timings) > 1 else None
        return enough(timings[0], elapsed_s, self.setting.protocol, beside)

    def _beside(self, own: Target) -> list[Target]:
        """Return the baseline as second target, or nothing.

        Nothing if the protocol has no reference, the configuration is the baseline, their devices
        differ, or both together do not fit into memory.
        """
        setting = self.setting
        baseline = Configuration(setting.baseline)
        if not setting.protocol.reference or not baseline or baseline == self.configuration:
            return []
        if baseline["device"] != self.configuration["device"]:
            return []
        reference = contender(setting, baseline, self.isolation, self.log)
        return [reference] if _fits([own, reference]) else []


def contender(
    setting: EvaluationSettings, configuration: Configuration, isolation: Isolation, log: Path
) -> Target:
    """Return a configuration as a measurement target; products missing in the store are built.

    Raises:
        EvaluationError: With its cause, if it can't be built.
    """
    with (
        _EvaluationRun(setting, configuration, isolation, log) as path,
        lease_cores(setting.build_cores) as cores,
    ):
        return Target(
            configuration=configuration,
            candidate=path._candidate(cores),
            requests=path._requests(cores),
        )


def _fits(contenders: Sequence[Target]) -> bool:
    """Return whether all targets together fit into free memory, and GPU memory if one is used."""
    import psutil

    needed = sum(c.replicas * ROOM * folder_mb(c.candidate) + ROOM_MB for c in contenders)
    rooms = [psutil.virtual_memory().available / 2**20]
    if any(c.resources.gpus for c in contenders):
        rooms.append(Gpus().free_mb() or 0.0)
    return bool(needed <= min(rooms))


def _cause(error: Exception) -> FailureCause:
    if is_full(error):
        return "disk full"
    return error.cause if isinstance(error, EvaluationError) else "exception"


def judge_candidate(
    setting: EvaluationSettings,
    configuration: Configuration,
    candidate: Path,
    isolation: Isolation,
    log: Path,
    folder: Path,
) -> dict[str, Measurement]:
    """Evaluate the quality of a candidate or an export again, ignoring stored results.

    Args:
        setting: The evaluation settings.
        configuration: The configuration of the candidate.
        candidate: Folder of the candidate or export.
        isolation: Starts the fresh processes.
        log: File for the output of the tasks.
        folder: Folder to write the quality to.

    Returns:
        The quality metrics by name.

    Raises:
        EvaluationError: With its cause, if the evaluation fails.
    """
    with (
        _EvaluationRun(setting, configuration, isolation, log) as path,
        lease_cores(setting.build_cores) as cores,
    ):
        path.judge_into(folder, candidate, path._reference(cores), cores, stopping=None)
    return read_metrics(folder)


def export_candidate(
    setting: EvaluationSettings,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    folder: Path,
) -> None:
    """Fill `folder` with an export of the configuration; missing products are built again.

    Raises:
        EvaluationError: With its cause, if it can't be built or run.
    """
    with _EvaluationRun(setting, configuration, isolation, log) as path:
        path.export(folder)
