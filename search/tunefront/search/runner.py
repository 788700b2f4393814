"""Ray Tune runs the trials: our own searcher over the study, reused actors, exact resources.

The study decides and remembers; Tune places and runs. Nothing of Tune's own state is kept: a search
that goes on starts a new Tune run over the same study (notes on why: docs/decisions.md).
"""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators import Evaluation, Isolation, Setting, evaluate
from tunefront.spaces import Configuration

from .files import write_whole
from .samplers import Sampler
from .study import Study
from .trial import Trial

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory

OBJECT_STORE_BYTES = 150 * 2**20
LOG_LINES = 20
QUIET_ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # it would end the search, not the trial
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""What is set for Ray before it is imported."""

Body = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""What a trial does in its worker: from its job to an evaluation, both as plain values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is told.

    Attributes:
        number: The trial's number.
        configuration: What to evaluate.
        setting: What all evaluations share.
        folder: The search's folder; results and logs go below it.
    """

    number: int
    configuration: Configuration
    setting: Setting
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain values for Ray."""
        return {
            "number": self.number,
            "configuration": dict(self.configuration),
            "setting": self.setting.to_dict(),
            "folder": str(self.folder),
        }


_isolation: Isolation | None = None


def run_job(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """Evaluate in this worker; its fork servers stay for the next job."""
    global _isolation
    if _isolation is None:
        _isolation = Isolation()
    evaluation = evaluate(
        Setting.from_dict(job["setting"]),
        Configuration(job["configuration"]),
        _isolation,
        Path(job["folder"], "logs", f"{job['number']:05}.log"),
    )
    return evaluation.to_dict()


def resources_of(configuration: Mapping[str, Any]) -> "PlacementGroupFactory":
    """What a trial asks Ray for: one group on one node, cores for every thread, GPUs for ranks."""
    from ray.tune import PlacementGroupFactory

    ranks = int(configuration.get("tensor_parallel", 1))
    processes = int(configuration.get("replicas", 1)) * ranks
    bundle = {"CPU": float(configuration.get("threads", 1)) * processes}
    if configuration.get("device", "cpu") == "cuda":
        bundle["GPU"] = float(processes)
    return PlacementGroupFactory([bundle])


class Runner:
    """Runs a search's trials until the study has enough of them, or the time is up.

    Args:
        study: The record.
        sampler: Who proposes.
        setting: What all evaluations share.
        concurrent: Trials at a time, at the most.
        trials: Trials in all, the baseline included; no bound where None.
        seconds: Time from now; no bound where None.
        on_trial: Called with every trial when it ends.
        body: What a trial does in its worker.
    """

    def __init__(
        self,
        study: Study,
        sampler: Sampler,
        setting: Setting,
        *,
        concurrent: int,
        trials: int | None,
        seconds: float | None,
        on_trial: Callable[[Trial], None],
        body: Body = run_job,
    ) -> None:
        self.study = study
        self.sampler = sampler
        self.setting = setting
        self.concurrent = concurrent
        self.trials = trials
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.on_trial = on_trial
        self.body = body
        self.again: list[tuple[Configuration, int]] = []
        self.stopped = False

    @property
    def results(self) -> Path:
        """Where workers leave their results before they report them."""
        return self.study.experiment.results / "trials"

    def reconcile(self) -> None:
        """Settle what ran when a driver ended; what never finished is run once more."""
        found = {
            int(path.stem): Evaluation.from_dict(json.loads(path.read_text()))
            for path in self.results.glob("*.json")
        }
        self.again = [(trial.configuration, 2) for trial in self.study.reconcile(found)]

    def next_job(self) -> Job | None:
        """The next trial, already in the record; None where the search is at its end."""
        recorded = self.study.trials()
        if self._ended(recorded):
            return None
        if not recorded:
            configuration, attempt = self.study.experiment.baseline, 1
        elif self.again:
            configuration, attempt = self.again.pop()
        else:
            proposed = self.sampler.propose(recorded)
            if proposed is None:
                return None
            configuration, attempt = proposed, 1
        return Job(
            number=self.study.ask(configuration, attempt),
            configuration=configuration,
            setting=self.setting,
            folder=self.study.experiment.results,
        )

    def _ended(self, recorded: Sequence[Trial]) -> bool:
        if self.stopped or (self.deadline is not None and time.monotonic() >= self.deadline):
            return True
        if recorded and recorded[0].status == "failed" and not self.again:
            return True
        counted = sum(not interrupted(trial) for trial in recorded)
        return self.trials is not None and counted >= self.trials

    def finished(self) -> bool:
        """Whether the record says that there is nothing to run, without asking the sampler."""
        recorded = self.study.trials()
        return bool(recorded) and self._ended(recorded) and not self.again

    def waiting(self) -> bool:
        """Whether nothing may start yet: everything is compared with the baseline."""
        baseline = self.study.baseline()
        return baseline is not None and baseline.status == "running"

    def tell(self, number: int, evaluation: Evaluation) -> None:
        """Record how a trial ended."""
        self.on_trial(self.study.tell(number, evaluation))

    def run(self) -> None:
        """Run trials until the end; Ray must be up (`ray_session`)."""
        self._run_tune()

    def _run_tune(self) -> None:
        from ray import tune

        from .searcher import StudySearcher

        searcher = StudySearcher(self)
        trainable = tune.with_resources(
            tune.with_parameters(_trainable, body=self.body),
            lambda job: resources_of(job["configuration"]),
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=self.concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=f"{os.getpid()}-{time.time_ns()}",
                storage_path=str((self.study.experiment.results / "ray").absolute()),
                verbose=0,
            ),
        )
        tuner.fit()


def interrupted(trial: Trial) -> bool:
    """Whether a trial never ended by itself: it was running when a driver did."""
    evaluation = trial.evaluation
    return trial.status == "failed" and (
        evaluation is None or evaluation.message.startswith("the search ended while")
    )


def _trainable(job: Mapping[str, Any], body: Body) -> None:
    """A trial in its worker: result file first, report second."""
    from ray import tune

    try:
        evaluation = body(job)
    except Exception as error:  # the trial's border: whatever happens is its result
        lines = traceback.format_exc().splitlines()
        evaluation = Evaluation(
            status="failed",
            cause="exception",
            stage="prepare",
            message=f"{type(error).__name__}: {error}",
            log=tuple(lines[-LOG_LINES:]),
        ).to_dict()
    path = Path(job["folder"], "trials", f"{job['number']:05}.json")
    write_whole(path, json.dumps(evaluation))
    tune.report({"number": job["number"], "evaluation": json.dumps(evaluation)})


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Whatever this process prints goes to a file; Ray prints boxes, whatever it is told."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, target in zip(kept, (1, 2), strict=True):
            os.dup2(descriptor, target)
            os.close(descriptor)


@contextmanager
def ray_session(cores: int) -> Iterator[None]:
    """Ray for one search: `RAY_ADDRESS` where it is set, else local and private.

    Args:
        cores: Cores that trials may ask for.
    """
    os.environ.update({k: v for k, v in QUIET_ENVIRONMENT.items() if k not in os.environ})
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {}
    if not address:
        local = {"num_cpus": cores, "object_store_memory": OBJECT_STORE_BYTES}
    ray.init(
        address=address,
        include_dashboard=None if address else False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        **local,
    )
    try:
        yield
    finally:
        ray.shutdown()
