"""The trial loop of a search: proposal of trials, recording of results, decision to stop.

The study holds the state; Ray Tune places and runs trials (cluster/). No state of Tune is kept: a
resumed search starts a new Tune run over the same study (reasons: docs/decisions.md).
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tunefront.evaluators import Evaluation, EvaluationSettings, Timeouts
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.search.cluster.jobs import Job
from tunefront.search.cluster.nodes import NodePool
from tunefront.search.cluster.resources import ray_resources_of, ray_resources_text
from tunefront.search.cluster.supervisor import RUN_JOB, RayLost, RaySupervisor
from tunefront.search.cluster.worker import log_file, result_file
from tunefront.search.sampling.base import Sampler
from tunefront.search.sampling.early_stopping.thresholds import race_of
from tunefront.search.study.duration_estimate import Estimate, estimate_of
from tunefront.search.study.inferred_failures import ExcludedConfigurations
from tunefront.search.study.live_stage import forget_stage, forget_stages
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
from tunefront.search.text import Say, counted
from tunefront.spaces import ClusterError, Configuration, StudyError

PATIENCE = 3
"""Consecutive proposals with an expected gain below `least_gain` that end the search."""
RESTARTS = 3
"""Consecutive restarts of Ray without a completed trial, after which the search fails."""
_HOUR_S = 3600.0
ABREAST = 10
"""Largest number of trials that are expected to end out of order, for the removal of old logs."""
LOGS = 100
"""Logs kept: those of the last 100 ended trials, and those of the last 100 failed ones."""
FULL = 3
"""Consecutive trials ended by a full disk, after which the search fails."""
LEAST_TIMEOUT_S = 30.0
"""Minimum timeout of a step in seconds, even close to the deadline."""


class Runner:
    """The trial loop: runs trials until budget or space are exhausted, or gains are too small.

    Args:
        study: The record.
        sampler: The sampler that proposes configurations.
        runnable: The configurations that can run.
        setting: The evaluation settings shared by all evaluations.
        concurrent: Maximum number of concurrent trials on each machine.
        trials: Maximum total number of trials, the baseline included; None for no bound.
        seconds: Seconds from now until the deadline; None for no deadline.
        least_gain: Expected gain, as a share of the front's hypervolume, below which `PATIENCE`
            consecutive proposals end the search; None for no such rule.
        on_trial: Called with each trial when it ends.
        on_start: Called with each trial when it starts.
        say: Called with one line per other event.
        body: `module:function` that a worker calls with a job.
    """

    def __init__(
        self,
        study: Study,
        sampler: Sampler,
        runnable: Sequence[Configuration],
        setting: EvaluationSettings,
        *,
        concurrent: int,
        trials: int | None,
        seconds: float | None,
        least_gain: float | None = None,
        on_trial: Callable[[Trial], None],
        on_start: Callable[[Trial], None] = lambda trial: None,
        say: Say = lambda line: None,
        body: str = RUN_JOB,
    ) -> None:
        self.study = study
        self.sampler = sampler
        self.runnable = frozenset(runnable)
        self.skips = ExcludedConfigurations(runnable)
        self.setting = setting
        self.each = concurrent
        self.concurrent = concurrent
        self.trials = trials
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.least_gain = least_gain
        self.gains: list[float] = []
        self.on_trial = on_trial
        self.on_start = on_start
        self.running: dict[int, Trial] = {}
        self.say = say
        self.body = body
        self.unfinished: list[int] = []
        self.stopped_by = 0
        self._excused: set[int] = set()
        self._full = 0
        self._told = 0
        self._over = ""

    @property
    def results(self) -> Path:
        """The folder in which workers store their results before they report them."""
        return self.study.experiment.results / "trials"

    @property
    def stopped(self) -> bool:
        """Whether a signal requested a stop."""
        return self.stopped_by != 0

    def reconcile(self) -> None:
        """Recover the trials that were running when a driver or Ray exited.

        Stored results are recorded; trials without a result are queued to run again.
        """
        found = {
            int(path.stem): from_plain(Evaluation, json.loads(path.read_text()))
            for path in self.results.glob("*.json")
        }
        self.unfinished = self.study.reconcile(found)
        for number in found:
            result_file(self.results.parent, number).unlink()
        self.running.clear()
        forget_stages(self.results.parent)

    def run(self, host: RaySupervisor) -> None:
        """Run trials until the search ends; restart Ray if it exits.

        Raises:
            ClusterError: If Ray exits after each of `RESTARTS` restarts without a completed trial,
                or no node has room for the baseline.
            StudyError: If the disk is full.
        """
        restarts = 0
        while self._more():
            ended = self._told
            self._suit(host.places)
            try:
                host.trials(self, self.concurrent, self.body)
            except RayLost as lost:
                restarts = 1 if self._told > ended else restarts + 1
                if restarts > RESTARTS:
                    log = self.study.experiment.results / "logs" / "ray.log"
                    raise ClusterError(
                        f"Ray was gone {restarts} times: {lost}; see {log}"
                    ) from lost
                self.say(f"Ray exited ({lost}); restarting, finished trials are kept")
                self.reconcile()
                host.restart()

    def _suit(self, places: NodePool) -> None:
        """Set the number of concurrent trials, and exclude configurations that fit on no node.

        Raises:
            ClusterError: If the baseline fits on no node.
        """
        baseline = self.study.experiment.baseline
        if not places.room_for(baseline):
            raise ClusterError(
                f"no node of the cluster has room for the baseline ({baseline.label()}), which "
                f"needs {ray_resources_text(ray_resources_of(baseline))} on one node; "
                "start a node that lends more"
            )
        self.concurrent = places.at_a_time(self.each)
        recorded = self.study.trials()
        untried = self.runnable - {trial.configuration for trial in recorded}
        small = [c for c in untried if not places.room_for(c)]
        if new := self.skips.leave_out(small):
            self.say(f"{counted(new, 'configuration')} left out: no node has the cores or the GPUs")
        self.unfinished = [n for n in self.unfinished if places.room_for(recorded[n].configuration)]

    def _more(self) -> bool:
        """Return whether to run more trials on Ray.

        Raises:
            StudyError: If `FULL` consecutive trials ended because the disk is full.
        """
        if self._full >= FULL:
            raise StudyError(
                f"the disk is full: {FULL} trials in a row could not write; free space on the disk "
                f"of {self.setting.store} (see `tunefront cache`), then run the same command again"
            )
        recorded = self.study.trials()
        if self._ended(recorded):
            return False
        return bool(self.unfinished) or not (self._over or self._counted(recorded))

    def next_job(self) -> Job | None:
        """Record the next trial and return its job; None if no trial can start now."""
        recorded = self.study.trials()
        if self._ended(recorded):
            return None
        while self.unfinished:
            number = self.unfinished.pop(0)
            trial = self.study.again(number, counted=number not in self._excused)
            if trial is not None:
                return self._job(trial)
            self.on_trial(self.study.trial(number))
        self._learn(recorded)
        proposed = self._proposed(recorded)
        if proposed is None:
            return None
        if not self._fits(recorded, proposed[0]):
            self._over = f"no other trial would end in time ({self._budget}); raise it to continue"
            return None
        return self._job(self.study.trial(self.study.ask(*proposed)))

    def _proposed(
        self, recorded: Sequence[Trial]
    ) -> tuple[Configuration, str, float | None] | None:
        """Return the next configuration, the reason for it and its expected seconds (or None).

        None if no trials are left in the budget or the space, or further gains are too small.
        """
        if not recorded:
            return self.study.experiment.baseline, "the baseline", None
        if self._counted(recorded):
            return None
        proposed = self.sampler.propose(recorded, self.skips.configurations)
        if proposed is None:
            self._over = "all runnable configurations were tried"
            return None
        estimate = estimate_of(recorded)
        self._foresee(estimate)
        gain = self.sampler.promise()
        self.gains = [*self.gains, gain][-PATIENCE:] if gain is not None else []
        if self.enough():
            added = f"{self.gains[-1]:.2%} to the front"
            self._over = f"another trial is expected to add {added} (budget.least_gain)"
            return None
        expected = estimate.expected_s(proposed) if estimate is not None else None
        return proposed, self.sampler.explain(), expected

    def _foresee(self, estimate: Estimate | None) -> None:
        """Store the forecast gain of another hour in the study, for `tunefront status`."""
        if estimate is None:
            return
        trials = max(1, round(_HOUR_S * self.concurrent / estimate.mean_s))
        gain = self.sampler.promise(trials)
        if gain is not None:
            self.study.foresee(trials, gain)

    def _learn(self, recorded: Sequence[Trial]) -> None:
        for lesson, count in self.skips.learn(recorded):
            self.say(f"{count} configurations need not be tried: {lesson}")

    def _fits(self, recorded: Sequence[Trial], configuration: Configuration) -> bool:
        """Return whether a trial is expected to end before the deadline."""
        estimate = estimate_of(recorded)
        if self.deadline is None or estimate is None:
            return True
        return time.monotonic() + estimate.safe_s(configuration) < self.deadline

    def _job(self, trial: Trial) -> Job:
        self.running[trial.number] = trial
        self.on_start(trial)
        experiment = self.study.experiment
        return Job(
            number=trial.number,
            configuration=trial.configuration,
            setting=replace(self.setting, timeouts=self._timeouts()),
            folder=experiment.results,
            race=race_of(experiment, self.study.trials(), trial.number),
        )

    def _timeouts(self) -> Timeouts:
        """Return the timeouts, shortened to the deadline (each at least `LEAST_TIMEOUT_S`)."""
        given = self.setting.timeouts
        if self.deadline is None:
            return given
        left = max(LEAST_TIMEOUT_S, self.deadline - time.monotonic())
        return Timeouts(
            build_s=min(given.build_s, left),
            quality_s=min(given.quality_s, left),
            measure_s=min(given.measure_s, left),
        )

    def _ended(self, recorded: Sequence[Trial]) -> bool:
        """Return whether no trial can start any more, even if some are left.

        Reasons: a stop request, a full disk, the deadline, or a failed baseline.
        """
        if self.stopped or self._full >= FULL or self._late():
            return True
        return bool(recorded) and recorded[0].status == "failed"

    def left(self) -> int:
        """Return the number of trials that can still be started, ignoring the deadline."""
        recorded = self.study.trials()
        tried = self.runnable.intersection(trial.configuration for trial in recorded)
        untried = len(self.runnable) - len(tried) - len(self.skips.configurations)
        return untried if self.trials is None else min(untried, self.trials - len(recorded))

    def seconds_left(self) -> float | None:
        """Return the seconds left for trials; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def _budget(self) -> str:
        """The budget settings that set the deadline, as text."""
        budget = self.study.experiment.budget
        hours = f"budget.hours {budget.hours:g}" if budget.hours is not None else ""
        until = f"budget.until {budget.until}" if budget.until is not None else ""
        return ", ".join(filter(None, (hours, until)))

    def _late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _counted(self, recorded: Sequence[Trial]) -> bool:
        return self.trials is not None and len(recorded) >= self.trials

    def enough(self) -> bool:
        """Return whether the last `PATIENCE` proposals all had an expected gain below the bound."""
        least = self.least_gain
        return least is not None and len(self.gains) == PATIENCE and max(self.gains) < least

    def over(self) -> str:
        """Return why no more trials are to run, without querying the sampler.

        Empty if trials are left to run, if a signal requested a stop, or before the first trial.
        """
        recorded = self.study.trials()
        if self.stopped or not recorded:
            return ""
        if recorded[0].status == "failed":
            return "the baseline failed, and everything is compared with it"
        if self._late():
            return f"the time is over ({self._budget}); raise it to continue"
        if self.unfinished:
            return ""
        if self._counted(recorded):
            return f"all {len(recorded)} trials of budget.trials are done"
        if self.left() <= 0:
            return f"all runnable configurations were tried{self.skips.told()}"
        return self._over

    def waiting(self) -> bool:
        """Return whether other trials wait for the baseline, with which all are compared."""
        baseline = self.study.baseline()
        return baseline is not None and baseline.status == "running" and 0 not in self.unfinished

    def tell(self, number: int, evaluation: Evaluation) -> None:
        """Record a trial's result, unless a full disk or the deadline ended the trial."""
        self._not_running(number)
        put_off = self._put_off(number, evaluation)
        if not put_off:
            self._full = 0
            self._told += 1
            self.on_trial(self.study.tell(number, evaluation))
            self._forget_logs()
        result_file(self.results.parent, number).unlink(missing_ok=True)

    def _forget_logs(self) -> None:
        """Delete old logs; keep those of the last `LOGS` ended trials and `LOGS` failed ones."""
        ended = [trial for trial in self.study.trials() if trial.status != "running"]
        failed = [trial for trial in ended if trial.status == "failed"]
        old = [trial for trial in ended[:-LOGS] if trial.status != "failed"]
        for trial in [*old[-ABREAST:], *failed[:-LOGS][-ABREAST:]]:
            log_file(self.study.experiment.results, trial.number).unlink(missing_ok=True)

    def _put_off(self, number: int, evaluation: Evaluation) -> bool:
        """Return whether a trial is postponed because a full disk or the deadline ended it.

        After a full disk the trial is queued again in this run, after the deadline in the next one.
        """
        if evaluation.cause == "disk full":
            self._full += 1
            self._excused.add(number)
            self.unfinished.append(number)
            self.say(f"trial {number}: the disk is full ({evaluation.message}); it runs again")
            return True
        if evaluation.cause == "timeout" and self._late():
            self.say(
                f"trial {number}: the time was up before it ended; it is left for the next run"
            )
            return True
        return False

    def lost(self, number: int) -> None:
        """Queue a trial again whose worker or node has exited."""
        self._not_running(number)
        self.say(f"trial {number}: its worker is gone; it runs again")
        self.unfinished.append(number)

    def _not_running(self, number: int) -> None:
        self.running.pop(number, None)
        forget_stage(self.results.parent, number)
