"""A search run from start to finish: prepare, check, search, confirm, write the result.

from tunefront.search import run_search
finished = run_search("experiments/minilm")
finished.result.headline(), finished.result.front.recommended
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tunefront.evaluators import EvaluationSettings, WorkloadDescription, stages_folder
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.evaluators.store.eviction import cache_limit
from tunefront.evaluators.store.locks import in_use
from tunefront.search.cluster.machine_check import check_machine
from tunefront.search.cluster.supervisor import RaySupervisor
from tunefront.search.exit_codes import ExitCode
from tunefront.search.experiment.evaluation_settings import identity
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.references import left_out, to_run
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.results.metadata import (
    archive_record,
    planned_trials,
    read_record,
    write_record,
)
from tunefront.search.results.result import Result, result_of, study_result
from tunefront.search.sampling.history.observations import (
    NOTHING_EARLIER,
    EarlierSearches,
    earlier_searches,
)
from tunefront.search.sampling.history.records import load_history, save_history, subject_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.duration_estimate import EXPORT_TRIALS, estimate_of
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
from tunefront.search.tracking.writer import TrackingWriter
from tunefront.spaces import Enumeration, named_error

from .capacity.measurement import CapacityRun
from .capacity.plan import capacity_seconds, to_probe
from .confirm import confirm, to_confirm
from .driver_process import DriverState, only_driver
from .events import (
    ClusterJoined,
    ConfirmationRoundFinished,
    ConfirmationShortened,
    ConfirmationStarted,
    DataScarce,
    HistoryUsed,
    NothingToRun,
    OnEvent,
    OtherSearches,
    ProgressChanged,
    RayStarting,
    RecordArchived,
    ReferenceLeftOut,
    ReportFailed,
    ReportWritten,
    SearchResumed,
    TrialFinished,
    TrialsEnded,
    TrialStarted,
    without_os_errors,
)
from .preflight import (
    check_gpus,
    check_tracking,
    check_workload,
    prepare,
    runnable_or_error,
    with_memory,
)
from .presence import present
from .progress import Progress
from .runner import Runner
from .sampler_factory import build_sampler
from .signals import interruptible
from .stopping import Stopping

Outcome = Literal["done", "no trial within limits", "baseline failed", "interrupted"]
EXIT_CODES: Mapping[Outcome, ExitCode] = {
    "done": ExitCode.DONE,
    "no trial within limits": ExitCode.NO_TRIAL_WITHIN_LIMITS,
    "baseline failed": ExitCode.BASELINE_FAILED,
    "interrupted": ExitCode.INTERRUPTED,
}
REPORT_S = 30.0
"""Seconds before the deadline that are reserved for writing MLflow and the report."""
DRAWS_BETWEEN_TRIALS = 50
"""Monte Carlo samples of a probability that MLflow shows until the last result is written."""
MOST_CAPACITY = 1 / 3
"""Largest share of a limited time that is reserved for the capacity of the finalists."""
EXPORT_S = 60.0
"""Seconds reserved for an export before a trial has been measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The outcome of a search run.

    Attributes:
        outcome: How the run ended.
        result: Trials, front and picks.
        link: The address of the front in MLflow; empty if MLflow could not be written.
        folder: The results folder.
        seconds: Duration of this run in seconds.
        signal: The number of the signal that requested the stop; 0 without one.
    """

    outcome: Outcome
    result: Result
    link: str
    folder: Path
    seconds: float
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        if self.signal == signal.SIGTERM:
            return ExitCode.TERMINATED
        return EXIT_CODES[self.outcome]


def run_search(
    experiment: str | Path | Experiment,
    overrides: Sequence[str] = (),
    *,
    fresh: bool = False,
    smoke: bool = False,
    exported: bool = False,
    on_event: OnEvent = lambda event: None,
) -> RunResult:
    """Run a search; the same call resumes a recorded one.

    Args:
        experiment: A file, a folder with `experiment.yaml`, or a loaded experiment.
        overrides: `a.b=value` texts that override values of the file.
        fresh: Archive an earlier record and start again.
        smoke: Run a quick check, whose record is kept separate.
        exported: Whether an export follows; the budget includes it then.
        on_event: Called with each event; MLflow's events come from another thread. OSErrors that
            it raises are ignored.

    Raises:
        ExperimentError, SpaceError, WorkloadError, TrackingError, StudyError, CacheError,
            MachineError: Before the first trial, if the search can't run.
        ClusterError: If Ray does not keep running, or no node has room for the baseline.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment, overrides, smoke=smoke)
    start = time.monotonic()
    on_event = without_os_errors(on_event)
    enumeration = runnable_or_error(experiment)
    check_machine(experiment.results)
    planned = planned_trials(experiment, enumeration)
    with only_driver(experiment) as driver, ExitStack() as stack:
        driver.note(DriverState(planned=planned))
        others = stack.enter_context(present(Lessee.this_process(experiment.name)))
        if others:
            on_event(OtherSearches(searches=others))
        if not fresh:
            read_record(experiment)  # raises an error if it belongs to another experiment
        check_tracking(experiment, on_event, fresh=fresh)
        cache_limit(stages_folder())
        checked = check_gpus(experiment, on_event)
        if checked is not experiment:
            experiment, enumeration = checked, runnable_or_error(checked)
            planned = planned_trials(experiment, enumeration)
        prepare(experiment.prepare, on_event)
        if experiment.prepare is not None:
            stack.enter_context(in_use(experiment.prepare.folder))
        settings, described = check_workload(experiment, on_event)
        if described.memory is not None:
            experiment = with_memory(experiment, described.memory)
            enumeration = runnable_or_error(experiment)
            planned = planned_trials(experiment, enumeration)
        if fresh and (archived := archive_record(experiment)) is not None:
            on_event(RecordArchived(folder=archived))
        study = Study.open(experiment, identity(experiment, described), on_event)
        if recorded := len(study.trials()):
            on_event(_resumed(recorded, read_record(experiment), enumeration))
        write_record(experiment, enumeration, described)
        for name, reason in left_out(
            experiment.references, experiment.baseline, experiment.budget.trials
        ).items():
            on_event(ReferenceLeftOut(name=name, reason=reason))
        driver.note(DriverState(planned=planned, checked=True))
        return _SearchRun(
            experiment, study, settings, described, enumeration, on_event, start, exported
        ).run()


class _SearchRun:
    """Search, confirmation and result of one run; the study is open and the workload checked."""

    def __init__(
        self,
        experiment: Experiment,
        study: Study,
        settings: EvaluationSettings,
        described: WorkloadDescription,
        enumeration: Enumeration,
        on_event: OnEvent,
        start: float,
        exported: bool,
    ) -> None:
        self.experiment = experiment
        self.study = study
        self.settings = settings
        self.quality_known = described.quality is not None
        self.subject = subject_of(experiment, described)
        self.enumeration = enumeration
        self.on_event = on_event
        self.start = start
        self.exported = exported
        self.rounds = (0, experiment.confirmation.rounds)
        self._result: Result | None = None
        self.spent_before_s = study.spent_s
        self.seconds = experiment.budget.seconds(self.spent_before_s, datetime.now())
        self.recorder = TrackingWriter(experiment, study, on_event)
        self.runner = self._runner()

    def run(self) -> RunResult:
        runner = self.runner
        runner.reconcile()
        runner.repeat_baseline()
        self.recorder.start()
        if recorded := self.study.trials():
            self._result = result_of(self.experiment, recorded, Confirmation())
        after = self._to_confirm() or self._to_probe()
        if (reason := runner.stop_reason()) is not None and not after:
            self.on_event(NothingToRun(reason=reason))
        else:
            self._run_trials(runner)
        result = self._result = study_result(self.study)
        save_history(self.experiment, self.subject, result.trials)
        self._report_progress("writing the result")
        self._write_report(result)
        link = self.recorder.finish(result)
        return RunResult(
            outcome=_outcome(result, runner.stopped),
            signal=runner.signal,
            result=result,
            link=link,
            folder=self.experiment.results,
            seconds=time.monotonic() - self.start,
        )

    def _write_report(self, result: Result) -> None:
        """Write report.html next to the record."""
        from tunefront.search.report.page import REPORT_FILE, write_report

        try:
            path = write_report(result, read_record(self.experiment))
        except Exception as error:  # a failed report must not invalidate the search's result
            problem = named_error(error)
            self.on_event(ReportFailed(file=REPORT_FILE, problem=problem))
        else:
            self.on_event(ReportWritten(path=path))

    def _run_trials(self, runner: Runner) -> None:
        address = os.environ.get("RAY_ADDRESS", "")
        machine = self.experiment.space.context.hardware  # without GPUs that were left out
        self.on_event(RayStarting(address=address))
        self._report_progress(f"joining the cluster at {address}" if address else "starting Ray")
        with (
            interruptible(runner, self.on_event),
            RaySupervisor(
                self.experiment.results, machine.leasable_cores, len(machine.gpus)
            ) as supervisor,
        ):
            if supervisor.nodes:
                concurrent = supervisor.node_pool.concurrent_trials(
                    self.experiment.concurrent_trials
                )
                self.on_event(ClusterJoined(nodes=supervisor.nodes, concurrent=concurrent))
            runner.run(supervisor)
            if (reason := runner.stop_reason()) is not None and not runner.stopped:
                self.on_event(TrialsEnded(reason=reason))
            if not runner.stopped and self._to_confirm():
                self.on_event(ConfirmationStarted())
                self._report_progress("confirming the finalists")
                self._confirm(supervisor)
                self._report_shortened()
            if not runner.stopped and self._to_probe():
                self._measure_capacities(supervisor)
        self.study.spend(self._spent_s())

    def _confirm(self, supervisor: RaySupervisor) -> None:
        """Confirm the finalists.

        Raises:
            ClusterError: If Ray exits or does not start after each of several restarts.
        """
        confirm(
            self.study,
            self.settings,
            supervisor,
            partial(self.runner.restart_ray, supervisor),
            on_round=self._on_round,
            seconds_left=self._seconds_left(),
            stopped=lambda: self.runner.stopped,
        )

    def _measure_capacities(self, supervisor: RaySupervisor) -> None:
        """Measure the capacity of the finalists.

        Raises:
            ClusterError: If Ray exits or does not start after each of several restarts.
        """
        CapacityRun(
            study=self.study,
            settings=self.settings,
            supervisor=supervisor,
            restart=partial(self.runner.restart_ray, supervisor),
            on_event=self.on_event,
            on_progress=self._report_progress,
            stopped=lambda: self.runner.stopped,
        ).measure(self._seconds_left())

    def _report_shortened(self) -> None:
        """Report it if the deadline came before all rounds of confirmation."""
        completed, planned = self.rounds
        bound = self.experiment.budget.deadline_text
        if completed < planned and bound and not self.runner.stopped:
            self.on_event(ConfirmationShortened(completed=completed, planned=planned, bound=bound))

    def _on_round(self, completed: int, planned: int) -> None:
        self.rounds = (completed, planned)
        self.on_event(ConfirmationRoundFinished(completed=completed, planned=planned))
        self._report_progress(f"confirming the finalists: {completed} of {planned} rounds")

    def _report_progress(self, phase: str = "") -> None:
        """Report the current progress."""
        progress = Progress(
            experiment=self.experiment,
            phase=phase,
            result=self._result,
            running=tuple(self.runner.running.values()),
            concurrent=self.runner.concurrent,
            left=self.runner.left(),
            at=datetime.now(),
            elapsed_s=time.monotonic() - self.start,
            trials_s=self.runner.stopping.seconds_left(),
            all_s=self._seconds_left(),
        )
        self.on_event(ProgressChanged(progress=progress))

    def _spent_s(self) -> float:
        """Return the seconds spent by all runs of this search, this one included."""
        return self.spent_before_s + time.monotonic() - self.start

    def _seconds_left(self) -> float | None:
        """Return the seconds until the result is due; None without a deadline."""
        if self.seconds is None:
            return None
        return self.seconds - REPORT_S - self._export_s() - (time.monotonic() - self.start)

    def _export_s(self) -> float:
        """Return the seconds that are reserved for an export, 0 without one."""
        if not self.exported:
            return 0.0
        estimate = estimate_of(self._result.trials) if self._result is not None else None
        return (
            EXPORT_S
            if estimate is None
            else EXPORT_TRIALS * estimate.waiting * estimate.with_build_s
        )

    def _to_confirm(self) -> bool:
        """Return whether confirmation is enabled and a finalist has not been confirmed yet."""
        if self.experiment.confirmation.finalists == 0:
            return False
        trials, confirmation = self.study.trials(), self.study.confirmation()
        return len(to_confirm(self.experiment, trials, confirmation)) > 1

    def _to_probe(self) -> bool:
        """Return whether a confirmed trial lacks its capacity."""
        return bool(to_probe(self.experiment, self.study.trials(), self.study.confirmation()))

    def _stopping(self) -> Stopping:
        """Return the stopping policy, with the time that confirmation and export need."""
        left = self._seconds_left()
        trials_s = None if left is None else left - self._confirmation_s()
        return Stopping.of(self.experiment.budget, trials_s)

    def _confirmation_s(self) -> float:
        """Return the seconds before a deadline that are reserved for the finalists."""
        confirmation = self.experiment.confirmation
        if self.seconds is None or not confirmation.finalists:
            return 0.0
        capacity_s = min(capacity_seconds(self.experiment), MOST_CAPACITY * self.seconds)
        return self.seconds * confirmation.share + capacity_s

    def _runner(self) -> Runner:
        experiment, listed = self.experiment, self.enumeration.runnable
        references = to_run(experiment.references, experiment.baseline)
        # Current settings can lie outside the space. The list is built once.
        runnable = (*listed, *(one for one in references if one not in listed))
        return Runner(
            self.study,
            build_sampler(experiment, runnable, self._earlier()),
            runnable,
            self.settings,
            concurrent=experiment.concurrent_trials,
            stopping=self._stopping(),
            on_trial=self._on_trial,
            on_start=self._on_start,
            on_event=self.on_event,
        )

    def _earlier(self) -> EarlierSearches:
        """Return what earlier searches have measured, for a sampler that learns from it."""
        if self.experiment.sampler != "ehvi":
            return NOTHING_EARLIER
        history = load_history(self.experiment, self.subject)
        earlier = earlier_searches(
            history, self.subject, self.experiment.space, self.experiment.baseline
        )
        if earlier.trials:
            names = tuple(search.name for search in history)
            self.on_event(HistoryUsed(searches=names, trials=len(earlier.trials)))
        return earlier

    def _on_start(self, trial: Trial) -> None:
        self.on_event(TrialStarted(trial=trial))
        self._report_progress()

    def _on_trial(self, trial: Trial) -> None:
        self.study.spend(self._spent_s())
        trials = self.study.trials()
        result = result_of(self.experiment, trials, Confirmation(), draws=DRAWS_BETWEEN_TRIALS)
        self._result = result
        if trial.number == 0 and not self.quality_known and result.scarcity is not None:
            self.on_event(DataScarce(scarcity=result.scarcity))
        self.runner.stopping = self._stopping()
        estimate, view = estimate_of(result.trials), result.view(trial)
        self.on_event(
            TrialFinished(
                trial=trial,
                sentence=view.sentence,
                remarks=view.remarks,
                front=tuple(on_front.number for on_front in result.front.trials),
                left=self.runner.left(),
                pace_s=estimate.mean_s / self.runner.concurrent if estimate else None,
                seconds_left=self.runner.stopping.seconds_left(),
            )
        )
        self._report_progress()
        self.recorder.add(result)


def _resumed(recorded: int, before: Mapping[str, Any], enumeration: Enumeration) -> SearchResumed:
    """Return the event of a resumed search; `before` is its earlier metadata."""
    runnable = len(enumeration.runnable)
    return SearchResumed(
        trials=recorded,
        runnable=runnable,
        runnable_before=before.get("space", {}).get("runnable", runnable),
    )


def _outcome(result: Result, stopped: bool) -> Outcome:
    if stopped:
        return "interrupted"
    if result.trials and result.trials[0].status == "failed":
        return "baseline failed"
    return "done" if result.front.trials else "no trial within limits"
