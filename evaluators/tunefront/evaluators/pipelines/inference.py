"""The one path from a configuration to its measurements.

    model stage      techniques applied to the torch module     key: workload + model choices
    runtime stage    built for a runtime, precision, bits       key: + runtime choices
    quality          once per candidate                         key: the candidate's
    execution stage  batch size, threads, replicas: speed and memory, measured every time

Every step runs in a fresh process (isolation.py); what stages produce is kept (store.py).
"""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tunefront.evaluators.benchmark.interleaved import Contender, Session, take_turns
from tunefront.evaluators.benchmark.outcome import Judge, Looker, digits, measured, plain_look
from tunefront.evaluators.evaluation.evaluation import WAITING, Evaluation, EvaluationStage
from tunefront.evaluators.evaluation.protocol import enough
from tunefront.evaluators.evaluation.settings import Setting, Timeouts, devices, memory_limit
from tunefront.evaluators.isolation.cores import lease_cores
from tunefront.evaluators.isolation.preload import imports_of
from tunefront.evaluators.isolation.process import Isolation, Step, last_lines
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
    STAGE_OF,
    Configuration,
    EvaluationError,
    FailureCause,
    Stage,
    Value,
    WorkloadError,
    detect_hardware,
)

ROOM = 3.0
"""Memory that a candidate may take, as a multiple of its files; a guess on the safe side."""
ROOM_MB = 700.0
"""Memory for a runtime's libraries and what they work in."""
LEAST_FREE_BYTES = 2**30
"""What must be free on the store's disk before anything is built."""
MODEL_COPIES = 3
"""What a build may leave behind, in sizes of the model: pruned, translated, built."""


OnStage = Callable[[EvaluationStage], None]
"""Called with the stage that begins."""


def describe_workload(workload: WorkloadSpec, isolation: Isolation, log: Path) -> Mapping[str, Any]:
    """Check model and data in a fresh process; fingerprint and size.

    Raises:
        WorkloadError: If either can't be used.
    """
    step = Step(
        name="describe",
        payload={"workload": workload.to_dict()},
        kit="build",
        needs=imports_of(workload.task),
        log=log,
        timeout_s=Timeouts().build_s,
    )
    try:
        return isolation.run(step)
    except EvaluationError as error:
        raise WorkloadError(f"workload: {error} ({error.cause}); see {log}") from error


def candidate_key(setting: Setting, configuration: Configuration) -> str:
    """The key of the built candidate: all that it depends on."""
    return _stage_key(setting, configuration, "runtime")


def model_key(setting: Setting, configuration: Configuration) -> str:
    """The key of what the model stage leaves."""
    return _stage_key(setting, configuration, "model")


def _stage_key(setting: Setting, configuration: Configuration, stage: Stage) -> str:
    return key_of(
        kind=stage,
        workload=setting.fingerprint,
        spec=_content(setting.workload),
        choices=_plain(configuration.up_to(stage, STAGE_OF)),
        environment=environment_of(detect_hardware()),
    )


def _content(spec: WorkloadSpec) -> dict[str, object]:
    """The spec without where things lie: the fingerprint stands for them."""
    return {**spec.to_dict(), "folder": ""}


def _plain(choices: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name: value if isinstance(value, str | bool) else float(value)
        for name, value in choices.items()
    }


def evaluate(
    setting: Setting,
    configuration: Configuration,
    isolation: Isolation,
    log: Path,
    on_stage: OnStage = lambda stage: None,
    judge: Judge = plain_look,
) -> Evaluation:
    """Build what isn't built, judge what isn't judged, measure; never raises for the trial's sake.

    Args:
        setting: What all evaluations of the search share.
        configuration: What to evaluate.
        isolation: Where the fresh processes come from.
        log: The file that the steps' output goes to.
        on_stage: Called with every stage as it begins.
        judge: Looks at what the first turns found, and says whether there are to be more.
    """
    with _Path(setting, configuration, isolation, log, on_stage, judge) as path:
        return path.walk()


class _Path:
    """One walk along the path; keeps time, place and reuse, and what it uses from being evicted."""

    def __init__(
        self,
        setting: Setting,
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
        except Exception as error:  # the trial's border: whatever happens is its result
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
        """Errors that nobody raised on purpose leave their traceback in the log."""
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
        """Build if need be, then fill the folder in a fresh process."""
        with lease_cores(self.setting.build_cores) as cores:
            payload = {
                "candidate": str(self._candidate(cores)),
                "requests": str(self._requests(cores)),
                "threads": int(self.configuration.get("threads", 1)),
                "folder": str(folder),
            }
            self._step("export", payload, cores, self.setting.timeouts.build_s)

    @contextmanager
    def _leased(self, stage: EvaluationStage) -> Iterator[Sequence[int]]:
        """Time a stage on cores of its own; the time until they are free is no stage's."""
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
        """The product of a step, made or found, and held until the end of the walk."""
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
        """Room to build in: a floor, or more where the model is a folder of large weights."""
        spec = self.setting.workload
        weights = sum(size_of(file) for file in spec.path(spec.model).glob("*.safetensors"))
        return max(LEAST_FREE_BYTES, MODEL_COPIES * weights)

    def _step(
        self, name: str, payload: Mapping[str, object], cores: Sequence[int], timeout_s: float
    ) -> None:
        self.isolation.run(
            Step(
                name=name,
                payload={"workload": self.setting.workload.to_dict(), **payload},
                kit="build",
                needs=imports_of(self.setting.workload.task, self.configuration),
                log=self.log,
                timeout_s=timeout_s,
                cores=cores,
                environment=devices(),
                memory_mb=memory_limit(self.setting, self.configuration),
            )
        )

    def _requests(self, cores: Sequence[int]) -> Path:
        batch_size = int(self.configuration.get("batch_size", 1))
        count = self.setting.protocol.requests
        key = key_of(
            kind="requests",
            workload=self.setting.fingerprint,
            spec=_content(self.setting.workload),
            batch_size=batch_size,
            count=count,
        )
        payload = {"batch_size": batch_size, "count": count}
        return self._kept(
            "requests",
            key,
            lambda folder: self._step(
                "requests",
                {**payload, "folder": str(folder)},
                cores,
                self.setting.timeouts.build_s,
            ),
        )

    def _reference(self, cores: Sequence[int]) -> Path:
        key = key_of(
            kind="reference",
            workload=self.setting.fingerprint,
            spec=_content(self.setting.workload),
            environment=environment_of(detect_hardware()),
        )
        return self._kept(
            "reference",
            key,
            lambda folder: self._step(
                "reference", {"folder": str(folder)}, cores, self.setting.timeouts.quality_s
            ),
        )

    def _candidate(self, cores: Sequence[int]) -> Path:
        payload = {
            "configuration": dict(self.configuration),
            "store": self.setting.store,
            "model_key": self.model_key,
        }
        return self._kept(
            "candidate",
            self.candidate_key,
            lambda folder: self._step(
                "build", {**payload, "folder": str(folder)}, cores, self.setting.timeouts.build_s
            ),
        )

    def _quality(self, candidate: Path, reference: Path, cores: Sequence[int]) -> Path:
        payload = {
            "candidate": str(candidate),
            "reference": str(reference),
            "threads": len(cores),
            **self._quality_limit(),
        }
        key = self._quality_key()
        if "limit" in payload and self.store.find(key) is None:
            # What ends early at one limit is no answer for another, nor beside another baseline.
            rule = {name: payload[name] for name in ("limit", "keeping_counts")}
            baseline = candidate_key(self.setting, Configuration(self.setting.baseline))
            key = key_of(kind="quality", candidate=self.candidate_key, baseline=baseline, **rule)
        return self._kept(
            "quality",
            key,
            lambda folder: self._step(
                "quality",
                {**payload, "folder": str(folder)},
                cores,
                self.setting.timeouts.quality_s,
            ),
        )

    def _quality_key(self) -> str:
        return key_of(kind="quality", candidate=self.candidate_key)

    def _quality_limit(self) -> dict[str, object]:
        """When judging may end early; nothing where it may not, or the baseline was not judged."""
        setting = self.setting
        if setting.quality_limit is None or not setting.baseline:
            return {}
        baseline = Configuration(setting.baseline)
        path = self.store.find(key_of(kind="quality", candidate=candidate_key(setting, baseline)))
        if path is None or candidate_key(setting, baseline) == self.candidate_key:
            return {}
        return {
            "limit": setting.quality_limit,
            "keeping_counts": not setting.quality_matters,
            "baseline": str(path),
        }

    def _measure(self, candidate: Path, requests: Path, quality: Path) -> Evaluation:
        own = Contender(configuration=self.configuration, candidate=candidate, requests=requests)
        looker = Looker(lambda session: self._found(session, quality), self.judge)
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

    def _found(self, session: Session, quality: Path) -> Evaluation:
        """What the turns found, and what was judged before them."""
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

    def _beside(self, own: Contender) -> list[Contender]:
        """The baseline, where there is room for it beside the candidate."""
        setting = self.setting
        baseline = Configuration(setting.baseline)
        elsewhere = baseline.get("device", "cpu") != self.configuration.get("device", "cpu")
        if not setting.protocol.reference or not baseline or elsewhere:
            return []
        if baseline == self.configuration:
            return []
        reference = contender(setting, baseline, self.isolation, self.log)
        return [reference] if _fits([own, reference]) else []


def contender(
    setting: Setting, configuration: Configuration, isolation: Isolation, log: Path
) -> Contender:
    """A configuration ready for its turns; what the store has lost is built again.

    Raises:
        EvaluationError: With its cause, where it can't be built.
    """
    with (
        _Path(setting, configuration, isolation, log) as path,
        lease_cores(setting.build_cores) as cores,
    ):
        return Contender(
            configuration=configuration,
            candidate=path._candidate(cores),
            requests=path._requests(cores),
        )


def _fits(contenders: Sequence[Contender]) -> bool:
    """Whether all of them, with what they work in, fit into the memory that is free."""
    import psutil

    needed = sum(c.replicas * ROOM * folder_mb(c.candidate) + ROOM_MB for c in contenders)
    rooms = [psutil.virtual_memory().available / 2**20]
    if any(c.configuration.get("device", "cpu") == "cuda" for c in contenders):
        rooms.append(Gpus().free_mb() or 0.0)
    return bool(needed <= min(rooms))


def _cause(error: Exception) -> FailureCause:
    if is_full(error):
        return "disk full"
    return error.cause if isinstance(error, EvaluationError) else "exception"


def judge_candidate(
    setting: Setting,
    configuration: Configuration,
    candidate: Path,
    isolation: Isolation,
    log: Path,
    folder: Path,
) -> dict[str, Measurement]:
    """Judge the quality of a candidate, or of an export, whatever the store knows of it.

    Raises:
        EvaluationError: With its cause, where it can't be judged.
    """
    with (
        _Path(setting, configuration, isolation, log) as path,
        lease_cores(setting.build_cores) as cores,
    ):
        reference = path._reference(cores)
        payload = {"candidate": str(candidate), "reference": str(reference), "threads": len(cores)}
        payload["folder"] = str(folder)
        path._step("quality", payload, cores, setting.timeouts.quality_s)
    return read_metrics(folder)


def export_candidate(
    setting: Setting, configuration: Configuration, isolation: Isolation, log: Path, folder: Path
) -> None:
    """Fill `folder` with an export of the configuration; builds what the store has lost.

    Raises:
        EvaluationError: With its cause, where it can't be built or run.
    """
    with _Path(setting, configuration, isolation, log) as path:
        path.export(folder)
