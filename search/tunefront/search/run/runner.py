"""The trial loop of a search: proposal of trials, recording of results, decision to stop.

The study holds the state; Ray Tune places and runs trials (cluster/). No state of Tune is kept: a
resumed search starts a new Tune run over the same study (reasons: docs/decisions.md).
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tunefront.evaluators import Evaluation, EvaluationSettings, resources_for
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.search.cluster.jobs import Job
from tunefront.search.cluster.nodes import NodePool
from tunefront.search.cluster.resources import ray_resources_of, ray_resources_text
from tunefront.search.cluster.supervisor import (
    RUN_JOB,
    RayLost,
    RayNotStarted,
    RaySupervisor,
    ray_log,
)
from tunefront.search.cluster.worker import log_file, result_file
from tunefront.search.sampling.base import Proposal, Sampler
from tunefront.search.sampling.early_stopping.thresholds import thresholds_for
from tunefront.search.study.duration_estimate import Estimate, estimate_of
from tunefront.search.study.inferred_failures import ExcludedConfigurations
from tunefront.search.study.live_stage import delete_stage, delete_stages, stage_of
from tunefront.search.study.storage import search_command
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
from tunefront.spaces import (
    ClusterError,
    Configuration,
    FailureCause,
    Resources,
    StudyError,
)

from .events import (
    BaselineRepeated,
    ConfigurationsTooLarge,
    FailureInferred,
    OnEvent,
    RayNotUp,
    RayRestarted,
    TrialPostponed,
)
from .stopping import PATIENCE, SearchState, Stopping, StopReason, machine_failure

RESTARTS = 3
"""Consecutive restarts of Ray without a completed trial, after which the search fails."""
START_PAUSES_S = (5.0, 15.0, 45.0)
"""Seconds before each of these restarts if Ray had not started at all."""
PAUSE_POLL_S = 0.1
_HOUR_S = 3600.0
OUT_OF_ORDER = 10
"""Largest number of trials that are expected to end out of order, for the removal of old logs."""
LOGS = 100
"""Logs kept: those of the last 100 ended trials, and those of the last 100 failed ones."""
LEAST_TRIAL_S = 30.0
"""Minimum seconds of a trial, even close to the deadline."""
ENDED_CAUSES: frozenset[FailureCause] = frozenset({"crash", "oom"})
"""Causes of stored results that are not recorded: when a search ends abruptly, the processes of a
trial can end before its worker, which then stores this."""
DEVICE_REPEATS = 2
"""How often a trial runs again that failed because of a GPU; then the failure is recorded."""


class Runner:
    """The trial loop: runs trials until budget or space are exhausted, or gains are too small.

    Args:
        study: The record.
        sampler: The sampler that proposes configurations.
        runnable: The configurations that can run.
        settings: The evaluation settings shared by all evaluations.
        concurrent: Maximum number of concurrent trials on each machine.
        stopping: The stopping policy.
        on_trial: Called with each trial when it ends.
        on_start: Called with each trial when it starts.
        on_event: Called with other events.
        body: `module:function` that a worker calls with a job.
    """

    def __init__(
        self,
        study: Study,
        sampler: Sampler,
        runnable: Sequence[Configuration],
        settings: EvaluationSettings,
        *,
        concurrent: int,
        stopping: Stopping,
        on_trial: Callable[[Trial], None],
        on_start: Callable[[Trial], None] = lambda trial: None,
        on_event: OnEvent = lambda event: None,
        body: str = RUN_JOB,
    ) -> None:
        self.study = study
        self.sampler = sampler
        self.runnable = frozenset(runnable)
        self.excluded = ExcludedConfigurations(runnable, study.experiment.space.catalog)
        self.settings = settings
        self.concurrent_per_node = concurrent
        self.concurrent = concurrent
        self.stopping = stopping
        self.on_trial = on_trial
        self.on_start = on_start
        self.running: dict[int, Trial] = {}
        self._wide: set[int] = set()  # the running trials of several GPUs
        self.on_event = on_event
        self.body = body
        self.unfinished: list[int] = []
        self.signal = 0
        self._uncounted: set[int] = set()
        self._full = 0
        self._broken = 0
        self._device_failures = Counter[int]()
        self._ended = 0
        self._gains: list[float] = []
        self._exhausted = False
        self._next_s: float | None = None

    @property
    def results(self) -> Path:
        """The folder in which workers store their results before they report them."""
        return self.study.experiment.results / "trials"

    @property
    def stopped(self) -> bool:
        """Whether a signal requested a stop."""
        return self.signal != 0

    def reconcile(self) -> None:
        """Recover the trials that were running when a driver or Ray exited.

        Stored results are recorded, except failures of `ENDED_CAUSES`; trials without a result are
        queued to run again.
        """
        found = {
            int(path.stem): from_plain(Evaluation, json.loads(path.read_text()))
            for path in self.results.glob("*.json")
        }
        kept = {number: one for number, one in found.items() if one.cause not in ENDED_CAUSES}
        self.unfinished = self.study.reconcile(kept)
        for number in found:
            result_file(self.results.parent, number).unlink()
        self.running.clear()
        self._wide.clear()
        delete_stages(self.results.parent)

    def repeat_baseline(self) -> None:
        """Queue the baseline again if it is the only trial and its failure can have passed."""
        trials = self.study.trials()
        if len(trials) == 1 and (problem := machine_failure(trials[0])):
            self.study.reopen_baseline()
            self._uncounted.add(0)
            self.unfinished.append(0)
            self.on_event(BaselineRepeated(problem=problem))

    def run(self, supervisor: RaySupervisor) -> None:
        """Run trials until the search ends; restart Ray if it exits or does not start.

        Raises:
            ClusterError: If Ray exits or does not start after each of `RESTARTS` restarts without a
                completed trial, or no node has room for the baseline.
            StudyError: If the disk is full, or the record's file can't be used for long.
        """
        restarts = 0
        while (reason := self.stop_reason()) is None:
            ended = self._ended
            self._fit_to_nodes(supervisor.node_pool)
            try:
                supervisor.trials(self, self.concurrent, self.body)
            except RayLost as error:
                restarts = 1 if self._ended > ended else restarts + 1
                self.reconcile()
                self.restart_ray(supervisor, error, restarts)
        if reason.cause == "disk full":
            raise StudyError(
                f"{reason.text}; free space on the disk of {self.settings.store} (see `tunefront "
                "cache`), then run the same command again"
            )

    def restart_ray(self, supervisor: RaySupervisor, lost: RayLost, restarts: int) -> None:
        """Report how Ray was lost and restart it; after a pause if it had not started.

        Args:
            supervisor: The Ray supervisor.
            lost: How Ray was lost.
            restarts: Number of consecutive restarts, this one included.

        Raises:
            ClusterError: If there were more than `RESTARTS`.
        """
        never_up = isinstance(lost, RayNotStarted)
        if restarts > RESTARTS:
            how, experiment = "did not start" if never_up else "exited", self.study.experiment
            raise ClusterError(
                f"Ray {how} {restarts} times in a row ({lost}); see {ray_log(experiment.results)}; "
                f"`{search_command(experiment)}` resumes the search"
            ) from lost
        if never_up:
            pause_s = START_PAUSES_S[restarts - 1]
            self.on_event(RayNotUp(problem=str(lost), pause_s=pause_s))
            self._pause(pause_s)
        else:
            self.on_event(RayRestarted(problem=str(lost)))
        if not self.stopped:
            supervisor.restart()

    def _pause(self, seconds: float) -> None:
        """Wait, at most until a signal requests a stop or the deadline is reached."""
        until = time.monotonic() + seconds
        while not self.stopped and self.stopping.seconds_left() != 0 and time.monotonic() < until:
            time.sleep(PAUSE_POLL_S)

    def _fit_to_nodes(self, pool: NodePool) -> None:
        """Set the number of concurrent trials, and exclude configurations that fit on no node.

        Raises:
            ClusterError: If the baseline fits on no node.
        """
        baseline = self._resources(self.study.experiment.baseline)
        if not pool.room_for(baseline):
            raise ClusterError(
                "no node of the cluster has room for the baseline "
                f"({self.study.experiment.baseline.label()}), which needs "
                f"{ray_resources_text(ray_resources_of(baseline))} on one node; "
                "add a node with more"
            )
        self.concurrent = pool.concurrent_trials(self.concurrent_per_node)
        recorded = self.study.trials()
        untried = self.runnable - {trial.configuration for trial in recorded}
        small = [c for c in untried if not pool.room_for(self._resources(c))]
        if new := self.excluded.add_too_large(small):
            self.on_event(ConfigurationsTooLarge(configurations=new))
        self.unfinished = [
            n for n in self.unfinished if pool.room_for(self._resources(recorded[n].configuration))
        ]

    def _resources(self, configuration: Configuration) -> Resources:
        return resources_for(self.study.experiment.workload, configuration)

    def stop_reason(self) -> StopReason | None:
        """Return why no further trial is started, without querying the sampler; None if one is."""
        return self.stopping.reason(
            SearchState(
                trials=self.study.trials(),
                untried=self._untried(),
                excluded=self.excluded.describe(),
                queued=len(self.unfinished),
                gains=self._gains,
                exhausted=self._exhausted,
                next_s=self._next_s,
                full=self._full,
                broken=self._broken,
                signal=self.signal,
            )
        )

    def next_job(self) -> Job | None:
        """Record the next trial and return its job; None if no trial can start now."""
        if self.stop_reason() is not None:
            return None
        while self.unfinished:
            number = self.unfinished.pop(0)
            trial = self.study.restart(number, counted=number not in self._uncounted)
            if trial is not None:
                return self._job(trial)
            self.on_trial(self.study.trial(number))
        recorded = self.study.trials()
        if not recorded:
            return self._start(self.study.experiment.baseline, "the baseline", None)
        self._infer_failures(recorded)
        return self._propose(recorded)

    def _propose(self, recorded: Sequence[Trial]) -> Job | None:
        """Start the sampler's next trial unless its proposal ends the search."""
        proposal = self.sampler.propose(recorded, self.excluded.configurations)
        if proposal is None:
            self._exhausted = True
            return None
        estimate = estimate_of(recorded)
        self._store_forecast(estimate, proposal)
        configuration, gain = proposal.configuration, proposal.expected_gain
        self._gains = [*self._gains, gain][-PATIENCE:] if gain is not None else []
        self._next_s = estimate.safe_s(configuration) if estimate is not None else None
        if self.stop_reason() is not None:
            return None
        self._next_s = None
        expected_s = estimate.expected_s(configuration) if estimate is not None else None
        return self._start(configuration, proposal.reason, expected_s, proposal.expected)

    def _start(
        self,
        configuration: Configuration,
        reason: str,
        expected_s: float | None,
        expected: Mapping[str, tuple[float, float]] | None = None,
    ) -> Job:
        number = self.study.ask(configuration, reason, expected_s, expected)
        return self._job(self.study.trial(number))

    def _store_forecast(self, estimate: Estimate | None, proposal: Proposal) -> None:
        """Store the forecast gain of another hour in the study, for `tunefront status`."""
        if estimate is None:
            return
        trials = max(1, round(_HOUR_S * self.concurrent / estimate.mean_s))
        gain = proposal.gain_of(trials)
        if gain is not None:
            self.study.set_forecast(trials, gain)

    def _infer_failures(self, recorded: Sequence[Trial]) -> None:
        for failure, count in self.excluded.update(recorded):
            self.on_event(FailureInferred(failure=failure, configurations=count))

    def _job(self, trial: Trial) -> Job:
        self.running[trial.number] = trial
        if self._resources(trial.configuration).gpus > 1:
            self._wide.add(trial.number)
        self.on_start(trial)
        experiment, left = self.study.experiment, self.stopping.seconds_left()
        return Job(
            number=trial.number,
            configuration=trial.configuration,
            settings=self.settings,
            folder=experiment.results,
            lessee=Lessee.this_process(experiment.name),
            seconds_left=None if left is None else max(LEAST_TRIAL_S, left),
            thresholds=thresholds_for(experiment, self.study.trials(), trial.number),
        )

    def _untried(self) -> int:
        """Return the number of runnable configurations that are neither tried nor excluded."""
        recorded = self.study.trials()
        tried = self.runnable.intersection(trial.configuration for trial in recorded)
        return len(self.runnable) - len(tried) - len(self.excluded.configurations)

    def left(self) -> int:
        """Return the number of trials that can still be started, ignoring the deadline."""
        untried, trials = self._untried(), self.stopping.trials
        return untried if trials is None else min(untried, trials - len(self.study.trials()))

    def waiting(self) -> bool:
        """Return whether other trials wait: for the baseline, or for one of several GPUs to begin.

        All are compared with the baseline. A trial of several GPUs would never begin if each GPU
        that becomes free were given to another trial.
        """
        baseline = self.study.baseline()
        if baseline is not None and baseline.status == "running" and 0 not in self.unfinished:
            return True
        return any(stage_of(self.results.parent, number) is None for number in self._wide)

    def tell(self, number: int, evaluation: Evaluation) -> None:
        """Record a trial's result, unless a full disk, a GPU or the deadline ended the trial."""
        self._remove_running(number)
        self._broken = self._broken + 1 if evaluation.cause == "device" else 0
        if not self._postponed(number, evaluation):
            self._full = 0
            self._ended += 1
            self.on_trial(self.study.tell(number, evaluation))
            self._delete_old_logs()
        result_file(self.results.parent, number).unlink(missing_ok=True)

    def _delete_old_logs(self) -> None:
        """Delete old logs; keep those of the last `LOGS` ended trials and `LOGS` failed ones."""
        ended = [trial for trial in self.study.trials() if trial.status != "running"]
        failed = [trial for trial in ended if trial.status == "failed"]
        old = [trial for trial in ended[:-LOGS] if trial.status != "failed"]
        for trial in [*old[-OUT_OF_ORDER:], *failed[:-LOGS][-OUT_OF_ORDER:]]:
            log_file(self.study.experiment.results, trial.number).unlink(missing_ok=True)

    def _postponed(self, number: int, evaluation: Evaluation) -> bool:
        """Return whether a trial is postponed because a full disk, a GPU or the deadline ended it.

        After a full disk or on a broken GPU (at most `DEVICE_REPEATS` times) the trial is queued
        again in this run, after the deadline in the next one.
        """
        if evaluation.cause == "device" and self._device_failures[number] < DEVICE_REPEATS:
            self._device_failures[number] += 1
            self._uncounted.add(number)
            self.unfinished.append(number)
            message = evaluation.message
            self.on_event(TrialPostponed(number=number, cause="device", message=message))
            return True
        if evaluation.cause == "disk full":
            self._full += 1
            self._uncounted.add(number)
            self.unfinished.append(number)
            message = evaluation.message
            self.on_event(TrialPostponed(number=number, cause="disk full", message=message))
            return True
        if evaluation.cause == "timeout" and self.stopping.seconds_left() == 0:
            self.on_event(TrialPostponed(number=number, cause="deadline"))
            return True
        return False

    def worker_exited(self, number: int) -> None:
        """Queue a trial again whose worker or node has exited."""
        self._remove_running(number)
        self.on_event(TrialPostponed(number=number, cause="worker exited"))
        self.unfinished.append(number)

    def _remove_running(self, number: int) -> None:
        self.running.pop(number, None)
        self._wide.discard(number)
        delete_stage(self.results.parent, number)
