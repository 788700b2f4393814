"""The one path from a configuration to its measurements.

    model stage      techniques applied to the torch module     key: workload + model choices
    runtime stage    built for a runtime, precision, bits       key: + runtime choices
    quality          once per candidate                         key: the candidate's
    execution stage  batch size, threads, replicas: speed and memory, measured every time

Every step runs in a fresh process (isolation.py); what stages produce is kept (store.py).
"""

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import numpy as np

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

from .cores import lease_cores
from .isolation import Isolation, Kit, Step, last_lines
from .measures import Measurement, Protocol
from .measures.quality import read_items, read_metrics
from .measures.speed import Timing, speed_of
from .steps import read_requests
from .store import Store, environment_of, key_of
from .workloads import WorkloadSpec
from .workloads.base import Array

EvaluationStage = Literal["prepare", "build", "quality", "measure"]
EVALUATION_STAGES: tuple[EvaluationStage, ...] = ("prepare", "build", "quality", "measure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds after which a step is ended as hung."""

    build_s: float = 1800.0
    quality_s: float = 1800.0
    measure_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all evaluations of a search share.

    Attributes:
        workload: The workload.
        fingerprint: The content of its model and data, from `describe_workload`.
        store: Root of the store.
        protocol: How speed is measured.
        timeouts: When steps are ended.
        build_cores: Cores that building and quality may use.
        memory_mb: Private memory that a process on the CPU may take; no limit where 0.
    """

    workload: WorkloadSpec
    fingerprint: str
    store: str
    protocol: Protocol = field(default_factory=Protocol)
    timeouts: Timeouts = field(default_factory=Timeouts)
    build_cores: int = 1
    memory_mb: int = 0

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Setting":
        """The inverse of `to_dict`."""
        return cls(
            workload=WorkloadSpec.from_dict(fields["workload"]),
            fingerprint=fields["fingerprint"],
            store=fields["store"],
            protocol=Protocol(**fields["protocol"]),
            timeouts=Timeouts(**fields["timeouts"]),
            build_cores=fields["build_cores"],
            memory_mb=fields["memory_mb"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How an evaluation ended, and what it found.

    Attributes:
        status: `ok`, or `failed` with the fields below filled.
        measurements: Figures by metric; empty where it failed.
        items: The primary metric's parts of every item, and their weights, for comparisons on the
            same items.
        facts: What the running candidate said it is.
        machine: How quiet the machine was while it was measured.
        seconds: Time by stage; what was found in the store took none.
        reused: Stages whose product was found in the store.
        cause: The failure's class.
        stage: Where it failed.
        message: What went wrong, one line.
        log: The last lines of the failed step's output.
    """

    status: Literal["ok", "failed"]
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    items: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    facts: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    reused: tuple[str, ...] = ()
    cause: FailureCause | None = None
    stage: EvaluationStage | None = None
    message: str = ""
    log: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fields = asdict(self)
        fields["measurements"] = {n: m.to_dict() for n, m in self.measurements.items()}
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Evaluation":
        """The inverse of `to_dict`."""
        measurements = {n: Measurement.from_dict(m) for n, m in fields["measurements"].items()}
        return cls(
            **{
                **fields,
                "measurements": measurements,
                "items": (tuple(fields["items"][0]), tuple(fields["items"][1])),
                "reused": tuple(fields["reused"]),
                "log": tuple(fields["log"]),
            }
        )


def describe_workload(workload: WorkloadSpec, isolation: Isolation, log: Path) -> Mapping[str, Any]:
    """Check model and data in a fresh process; fingerprint and size.

    Raises:
        WorkloadError: If either can't be used.
    """
    step = Step(
        name="describe",
        payload={"workload": workload.to_dict()},
        kit="build",
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
    setting: Setting, configuration: Configuration, isolation: Isolation, log: Path
) -> Evaluation:
    """Build what isn't built, judge what isn't judged, measure; never raises for the trial's sake.

    Args:
        setting: What all evaluations of the search share.
        configuration: What to evaluate.
        isolation: Where the fresh processes come from.
        log: The file that the steps' output goes to.
    """
    return _Path(setting, configuration, isolation, log).walk()


class _Path:
    """One walk along the path; keeps time, place and reuse."""

    def __init__(
        self, setting: Setting, configuration: Configuration, isolation: Isolation, log: Path
    ) -> None:
        self.setting = setting
        self.configuration = configuration
        self.isolation = isolation
        self.log = log
        self.store = Store(Path(setting.store))
        self.model_key = _stage_key(setting, configuration, "model")
        self.candidate_key = candidate_key(setting, configuration)
        self.seconds: dict[str, float] = {}
        self.reused: list[str] = []
        self.stage: EvaluationStage = "prepare"

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
        with lease_cores(self.setting.build_cores) as cores, self._timed("prepare"):
            requests = self._requests(cores)
        with lease_cores(self.setting.build_cores) as cores, self._timed("build"):
            candidate = self._candidate(cores)
        with lease_cores(self.setting.build_cores) as cores, self._timed("quality"):
            quality = self._quality(candidate, self._reference(cores), cores)
        with self._timed("measure"):
            measured = self._measure(candidate, requests)
        values, weights = read_items(quality)
        return replace(
            measured,
            measurements={**measured.measurements, **read_metrics(quality)},
            items=(_digits(values), _digits(weights)),
        )

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
    def _timed(self, stage: EvaluationStage) -> Iterator[None]:
        self.stage = stage
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = time.perf_counter() - start

    def _kept(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """The product of a step, made or found."""
        made = False

        def note(folder: Path) -> None:
            nonlocal made
            made = True
            make(folder)

        path = self.store.get_or_make(key, note)
        if not made:
            self.reused.append(name)
        return path

    def _step(
        self, name: str, payload: Mapping[str, object], cores: Sequence[int], timeout_s: float
    ) -> None:
        self.isolation.run(
            Step(
                name=name,
                payload={"workload": self.setting.workload.to_dict(), **payload},
                kit="build",
                log=self.log,
                timeout_s=timeout_s,
                cores=cores,
                environment=_devices(),
                memory_mb=_memory_limit(self.setting, self.configuration),
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
        }
        return self._kept(
            "quality",
            key_of(kind="quality", candidate=self.candidate_key),
            lambda folder: self._step(
                "quality",
                {**payload, "folder": str(folder)},
                cores,
                self.setting.timeouts.quality_s,
            ),
        )

    def _measure(self, candidate: Path, requests: Path) -> Evaluation:
        return measure(
            self.setting, self.configuration, candidate, requests, self.isolation, self.log
        )


def measure(
    setting: Setting,
    configuration: Configuration,
    candidate: Path,
    requests: Path,
    isolation: Isolation,
    log: Path,
) -> Evaluation:
    """Speed and memory of a built candidate, each replica in a fresh process on its own cores.

    Raises:
        EvaluationError: With its cause, where it doesn't run, or a choice did not take effect.
    """
    threads = int(configuration.get("threads", 1))
    replicas = int(configuration.get("replicas", 1))
    share = threads * int(configuration.get("tensor_parallel", 1))
    protocol = setting.protocol if replicas == 1 else replace(setting.protocol, precision=0.0)
    with (
        lease_cores(share * replicas) as cores,
        TemporaryDirectory(prefix="tunefront-") as barrier,
    ):
        payload: dict[str, object] = {
            "candidate": str(candidate),
            "configuration": dict(configuration),
            "requests": str(requests),
            "threads": threads,
            "protocol": asdict(protocol),
        }
        if replicas > 1:
            payload |= {"barrier": barrier, "replicas": replicas}
        steps = [
            Step(
                name="measure",
                payload=payload,
                kit=cast(Kit, configuration.get("runtime", "torch")),
                log=log,
                timeout_s=setting.timeouts.measure_s,
                cores=cores[replica * share : (replica + 1) * share],
                environment=_devices(),
                memory_mb=_memory_limit(setting, configuration),
            )
            for replica in range(replicas)
        ]
        results = isolation.run_together(steps)
    return _measured(results, requests)


def _measured(results: list[Mapping[str, Any]], requests: Path) -> Evaluation:
    """One evaluation from what every replica found."""
    timings = [
        Timing(request_s=np.array(r["request_s"]), warmup_s=r["warmup_s"], cpu_s=r["cpu_s"])
        for r in results
    ]
    first = results[0]
    # Libraries are shared pages: they count once, what a replica adds counts for each.
    model_mb = sum(r["peak_mb"] - r["idle_mb"] for r in results)
    measurements = {
        **speed_of(timings, read_requests(requests)),
        "peak_memory_mb": Measurement.exact(first["idle_mb"] + model_mb, "MB"),
        "model_memory_mb": Measurement.exact(model_mb, "MB"),
        "weights_mb": Measurement.exact(first["weights_mb"], "MB"),
    }
    return Evaluation(
        status="ok",
        measurements=measurements,
        facts={**first["facts"], "load_s": first["load_s"], "warmup_s": first["warmup_s"]},
        machine=first["machine"],
    )


def _memory_limit(setting: Setting, configuration: Configuration) -> int:
    """CUDA reserves far more addresses than it uses, so that a limit would only break it."""
    return 0 if configuration.get("device", "cpu") == "cuda" else setting.memory_mb


def _devices() -> dict[str, str]:
    """The GPUs that this worker was given; fork servers may be older than the gift."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}


def _digits(values: Array) -> tuple[float, ...]:
    """Seven digits: enough for comparisons, and short in the record."""
    return tuple(float(f"{value:.7g}") for value in values)


def _cause(error: Exception) -> FailureCause:
    if isinstance(error, EvaluationError):
        return error.cause
    if isinstance(error, OSError) and error.errno == 28:
        return "disk full"
    return "exception"


def export_candidate(
    setting: Setting, configuration: Configuration, isolation: Isolation, log: Path, folder: Path
) -> None:
    """Fill `folder` with an export of the configuration; builds what the store has lost.

    Raises:
        EvaluationError: With its cause, where it can't be built or run.
    """
    path = _Path(setting, configuration, isolation, log)
    path.export(folder)
