"""The status of a search: read once, watched until its driver exits, and awaited after a stop."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import read_record, recorded_trials, resume_command
from tunefront.search.results.result import Result, study_result
from tunefront.search.study.live_stage import (
    CONFIRMATION,
    STARTING,
    LiveStage,
    stage_of,
    stage_versions,
)
from tunefront.search.study.study import STUDY_FILE, Study
from tunefront.search.study.trial import Trial
from tunefront.search.text import OnMessage, counted
from tunefront.spaces import StudyError

from .driver_process import driver_of, driver_state, request_stop

STATUS_POLL_S = 2.0
LONGEST_MESSAGE = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStatus:
    """The status of a search.

    Attributes:
        experiment: The experiment.
        result: The result so far; None if nothing is recorded yet.
        record: The metadata written next to the study when the search was started.
        driver: The driver's process id; None if none runs, 0 if its id is unknown (another user,
            container or machine).
        forecast: Number of trials in another hour, and an upper bound of their gain as a share of
            the front's hypervolume; None if unknown.
        stages: The current stages of running trials, by trial number.
        confirmation: The stage of the current confirmation round; None if none runs.
        planned_now: Number of trials that the driver plans while it checks model and data; None
            afterwards.
    """

    experiment: Experiment
    result: Result | None
    record: Mapping[str, Any]
    driver: int | None
    forecast: tuple[int, float] | None = None
    stages: Mapping[int, LiveStage] = field(default_factory=dict)
    confirmation: LiveStage | None = None
    planned_now: int | None = None

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All recorded trials."""
        return self.result.trials if self.result is not None else ()

    @property
    def running(self) -> tuple[Trial, ...]:
        """The trials that are running, or were running when the driver exited."""
        return tuple(trial for trial in self.trials if trial.status == "running")

    @property
    def interrupted(self) -> tuple[Trial, ...]:
        """The trials that were running when the driver exited."""
        return self.running if self.driver is None else ()

    @property
    def planned(self) -> int | None:
        """Number of trials of the last start, without excluded ones; None if unknown."""
        skipped = self.result.skipped if self.result is not None else 0
        if self.planned_now is not None or not self.record:
            return self.planned_now
        return recorded_trials(self.record, skipped)

    @property
    def unfinished(self) -> bool:
        """Whether running the same command again would run more trials."""
        if self.running or not self.trials:
            return True
        if self.trials[0].status == "failed":
            return False
        return self.planned is not None and len(self.trials) < self.planned

    def counts(self) -> str:
        """Format the counts: `12 of 60 trials (1 failed, 10 ok, 1 running)`."""
        counts: dict[str, int] = {}
        for trial in self.trials:
            name = "interrupted" if trial in self.interrupted else trial.status
            counts[name] = counts.get(name, 0) + 1
        if self.result is not None and self.result.skipped:
            counts["skipped"] = self.result.skipped
        texts = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        return f"{len(self.trials)} of {self.planned or '?'} trials ({texts or 'none yet'})"

    def driver_text(self) -> str:
        """Format whether a driver runs; if none does, add the command that resumes the search."""
        if self.driver is not None:
            pid = self.driver or "of another user, container or machine"
            return f"running (pid {pid})"
        resume = f"; `{resume_command(self.experiment, self.record)}` resumes it"
        return "not running" + (resume if self.unfinished else "")

    def front(self) -> str:
        """Format the size of the front and the headline; empty before a trial has ended."""
        if self.result is None or len(self.running) == len(self.trials):
            return ""
        front = counted(len(self.result.front.trials), "trial")
        return f"front: {front}; {self.result.headline()}"

    def lines(self) -> list[str]:
        """Format the whole status as lines of text."""
        lines = [f"{self.experiment.name}: {self.counts()}; {self.driver_text()}", self.front()]
        lines += self.stage_lines()
        lines.append(self.forecast_text())
        for trial in self.trials:
            if trial.status == "failed" and trial.evaluation is not None:
                message = trial.evaluation.message[:LONGEST_MESSAGE]
                lines.append(f"failed: {trial.name()}: {trial.cause}: {message}")
        return [line for line in lines if line]

    def stage_lines(self) -> list[str]:
        """Format the current stage of each running trial and when it began."""
        if self.driver is None:
            return []
        lines = [_stage_line(trial.name(), self.stages.get(trial.number)) for trial in self.running]
        if self.confirmation is not None:
            lines.append(_stage_line("confirming the finalists", self.confirmation))
        return lines

    def forecast_text(self) -> str:
        """Format the forecast gain of another hour; empty if unknown or no trials are left."""
        if self.forecast is None or self.result is None:
            return ""
        trials, gain = self.forecast
        possible = self.record.get("space", {}).get("trials", 0) - self.result.skipped
        count = min(trials, possible - len(self.trials))
        if count <= 0:
            return ""
        hour = f"another hour ({counted(count, 'trial')})"
        return f"{hour} is expected to add at most {percent_text(gain)} to the front"

    def line(self) -> str:
        """Format counts, front and driver as one line."""
        return "; ".join(filter(None, (self.counts(), self.front(), self.driver_text())))

    def fields(self) -> dict[str, Any]:
        """Return the status of the search run as plain JSON values."""
        command = resume_command(self.experiment, self.record)
        return {
            "planned": self.planned,
            "running": self.driver is not None,
            "pid": self.driver or None,
            "another_hour": None
            if self.forecast is None
            else {"trials": self.forecast[0], "gain_at_most": self.forecast[1]},
            "stages": {
                str(trial.number): asdict(at)
                for trial in self.running
                if self.driver is not None and (at := self.stages.get(trial.number))
            },
            "resume_command": command if self.driver is None and self.unfinished else None,
        }


def _stage_line(name: str, stage: LiveStage | None) -> str:
    since = f", since {datetime.fromtimestamp(stage.since):%H:%M:%S}" if stage else ""
    return f"now: {name}: {stage.text if stage else STARTING}{since}"


def status_of(experiment: Experiment) -> SearchStatus:
    """Read the status of a search.

    Raises:
        StudyError: If nothing is recorded and no driver runs.
    """
    driver, state = driver_of(experiment), driver_state(experiment)
    planned = state.planned if state is not None and not state.checked else None
    record = read_record(experiment)
    # Opening the study while the driver creates it would interfere with the driver.
    too_early = driver is not None and not record
    if too_early:
        return SearchStatus(
            experiment=experiment,
            result=None,
            record=record,
            driver=driver,
            planned_now=planned,
        )
    study = Study.read(experiment)
    result = study_result(study)
    running = [trial.number for trial in result.trials if trial.status == "running"]
    found = {number: stage_of(experiment.results, number) for number in running}
    return SearchStatus(
        experiment=experiment,
        result=result,
        record=record,
        driver=driver,
        forecast=study.forecast,
        stages={number: at for number, at in found.items() if at is not None},
        confirmation=stage_of(experiment.results, CONFIRMATION),
        planned_now=planned,
    )


def watch(experiment: Experiment, show: Callable[[SearchStatus], None]) -> None:
    """Call `show` with the status whenever it has changed, until no driver runs.

    Polls every `STATUS_POLL_S` seconds; the record is read only if its files, a stage or the
    driver have changed.

    Raises:
        StudyError: If nothing is recorded and no driver runs.
    """
    last_version: object = None
    shown: list[str] = []
    while True:
        version = _version(experiment)
        if version != last_version:
            last_version = version
            status = status_of(experiment)
            if status.lines() != shown:
                shown = status.lines()
                show(status)
            if status.driver is None:
                return
        time.sleep(STATUS_POLL_S)


def _version(experiment: Experiment) -> tuple[object, ...]:
    """Return a value that changes whenever the status can have changed.

    The driver is read first: it writes the record before it exits, so no last write is missed.
    """
    values: list[object] = [driver_of(experiment)]
    values += stage_versions(experiment.results)
    for name in (STUDY_FILE, "search.json"):
        try:
            found = (experiment.results / name).stat()
            values += [found.st_mtime_ns, found.st_size]
        except FileNotFoundError:
            values.append(None)
    return tuple(values)


def stop_search(experiment: Experiment, *, now: bool, on_message: OnMessage) -> None:
    """Send the driver a stop request, and wait until it has exited.

    Args:
        experiment: The experiment.
        now: Whether running trials are dropped.
        on_message: Called with one line per event.

    Raises:
        StudyError: If the driver can't be signalled: another user, container or machine.
    """
    pid = request_stop(experiment, now=now)
    if pid is None:
        on_message(f"{experiment.name}: no driver runs; nothing to stop")
        return
    when = "" if now else " after its running trials"
    on_message(f"sent the driver (pid {pid}) a request to stop{when}")
    if now:
        on_message(f"if it does not stop: `kill -9 {pid}`; finished trials are kept")
    texts: list[str] = []

    def wait(status: SearchStatus) -> None:
        waiting = _waiting_for(status)
        if status.driver == pid and waiting not in texts[-1:]:
            texts.append(waiting)
            on_message(waiting)

    try:
        watch(experiment, wait)
    except StudyError:  # the driver exited before it had created a record
        on_message(f"stopped; `{resume_command(experiment, {})}` starts it")
        return
    command = resume_command(experiment, read_record(experiment))
    on_message(f"stopped; `{command}` resumes it")


def _waiting_for(status: SearchStatus) -> str:
    if not status.running:
        last = ["the result", "MLflow"]
        if status.experiment.confirmation.finalists:
            last.insert(0, "confirmation")
        return f"waiting for {', '.join(last)}"
    names = ", ".join(trial.name() for trial in status.running)
    return f"waiting for {counted(len(status.running), 'trial')}: {names}"
