"""Writing of MLflow during a search, in a thread that the search waits for only at its end.

Writing is idempotent and always starts from the full result, so a failed write needs no queue: the
next write (in this run, the next run, or `tunefront sync`) catches up.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import read_record
from tunefront.search.results.result import Result, study_result
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
from tunefront.search.text import command_text
from tunefront.spaces import TrackingError

from .base import Tracker
from .store import check_reachable, error_text, only_writer

if TYPE_CHECKING:
    from tunefront.search.profile.run import ProfiledTrial

LONGEST_PAUSE_S = 60.0
LAST_ATTEMPTS = 2
"""Attempts at the end of a run; the second succeeds if the server had only closed a connection."""
STANDSTILL_S = 30.0
LAST_S = 120.0
"""Longest wait at the end of a run, in seconds: without a written trial, and in total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingInterrupted:
    """MLflow could not be written twice in a row; writing is retried.

    Attributes:
        problem: The error.
    """

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingRestored:
    """MLflow was written again after a `TrackingInterrupted`.

    Attributes:
        trials: Number of trials that MLflow holds.
    """

    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingIncomplete:
    """MLflow does not hold the whole result at the end of a run.

    Attributes:
        problem: Why.
        trials: Numbers of the trials that are missing.
        command: The command that writes the missing part later.
    """

    problem: str
    trials: tuple[int, ...]
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsUnavailable:
    """Links into MLflow cannot use saved views.

    Attributes:
        obstacle: Why.
    """

    obstacle: str


TrackingEvent = TrackingInterrupted | TrackingRestored | TrackingIncomplete | ViewsUnavailable
"""What the writer reports."""


def pause_s(failures: int) -> float:
    """Return the seconds to wait after so many consecutive failures: 2^n, at most 60."""
    return float(min(2**failures, LONGEST_PAUSE_S))


class TrackingWriter:
    """Writer of a search into MLflow, in a background thread.

    Args:
        experiment: The experiment.
        study: The record.
        on_event: Called when MLflow can't be written, and when it can be again; from the thread.
    """

    def __init__(
        self, experiment: Experiment, study: Study, on_event: Callable[[TrackingEvent], None]
    ) -> None:
        self._experiment = experiment
        self._search_id = study.search_id
        self._on_event = on_event
        self._newest: Result | None = None
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._given_up = False
        self._thread = threading.Thread(target=self._loop, name="tracking-writer", daemon=True)
        self._held = ExitStack()
        self._projection: Tracker | None = None
        self._written: dict[int, _Place] = {}
        self._progress = time.monotonic()
        self._problem = ""
        self._shown = False
        self._link = ""

    def start(self) -> None:
        """Start the thread."""
        self._wake.set()
        self._thread.start()

    def add(self, result: Result) -> None:
        """Set the result to write; it replaces one that has not been written yet."""
        self._newest = result
        self._wake.set()

    def finish(self, result: Result) -> str:
        """Write everything; return the front's address, empty if MLflow could not be written."""
        self._newest = result
        start = self._progress = time.monotonic()
        self._ending.set()
        self._wake.set()
        late = ""
        while self._thread.is_alive() and not (late := self._too_long(start)):
            self._thread.join(0.2)
        self._given_up = True
        if not self._link:
            self._on_event(self._incomplete(result, self._problem or late))
        return self._link

    def _too_long(self, start: float) -> str:
        """Return why the end of the run stops waiting; empty while it waits."""
        now = time.monotonic()
        if now - self._progress > STANDSTILL_S:
            return f"no response in {STANDSTILL_S:.0f} s"
        return f"not done in {LAST_S:.0f} s" if now - start > LAST_S else ""

    def _loop(self) -> None:
        """Write the newest result whenever there is one; retry after a pause if writing fails."""
        failures, last_attempts = 0, 0
        with self._held:
            while not self._given_up:
                if failures:
                    self._ending.wait(pause_s(failures))
                else:
                    self._wake.wait()
                self._wake.clear()
                last = self._ending.is_set()
                last_attempts += last
                try:
                    self._write(last=last)
                except Exception as error:  # MLflow raises many types; the study keeps all data
                    failures += 1
                    self._failed(error, failures)
                    if last_attempts == LAST_ATTEMPTS:
                        return
                else:
                    self._succeeded(failures)
                    failures = 0
                    if last:
                        return

    def _write(self, *, last: bool) -> None:
        projection, result = self._open(), self._newest
        if result is None:
            return
        places = _places(result)
        for trial in sorted(_ended(result), key=lambda trial: trial.number in self._written):
            if self._given_up:
                return
            if not last and self._written.get(trial.number) == places[trial.number]:
                continue  # small changes of its chance to be on the front are written at the end
            projection.write_trial(trial, result)
            self._written[trial.number] = places[trial.number]
            self._progress = time.monotonic()
        if last:
            self._link = write_result(projection, result)
            if projection.obstacle:
                self._on_event(ViewsUnavailable(obstacle=projection.obstacle))
        elif not self._shown:
            projection.link(result)  # early, so that the front has a link during the search
            self._shown = True

    def _open(self) -> Tracker:
        from .projection import Projection

        if self._projection is None:
            self._held.enter_context(only_writer(self._experiment))
            self._projection = Projection(self._experiment, self._search_id)
        return self._projection

    def _failed(self, error: Exception, failures: int) -> None:
        """Reset the connection after a failure; report the second consecutive failure only."""
        self._projection = None  # its copy of MLflow's state can be outdated
        self._held.close()
        self._problem = error_text(error)
        if failures == 2 and not self._ending.is_set():
            self._on_event(TrackingInterrupted(problem=self._problem))

    def _succeeded(self, failures: int) -> None:
        self._problem = ""
        if failures > 1 and not self._ending.is_set():
            self._on_event(TrackingRestored(trials=len(self._written)))

    def _incomplete(self, result: Result, problem: str) -> TrackingIncomplete:
        missing = [trial.number for trial in _ended(result) if trial.number not in self._written]
        smoke = ["--smoke"] if self._experiment.smoke else []
        return TrackingIncomplete(
            problem=problem,
            trials=tuple(missing),
            command=command_text("sync", self._experiment.path, *smoke),
        )


_Place = tuple[bool, tuple[str, ...]]
"""Whether a trial is on the front, and the names of its picks."""


def _places(result: Result) -> dict[int, _Place]:
    """Return whether each trial is on the front, and its picks, by trial number."""
    listed = {
        view.number: (view.on_front, tuple(pick.name for pick in view.picks))
        for view in result.shortlist
    }
    return {t.number: listed.get(t.number, (False, ())) for t in result.trials}


def _ended(result: Result) -> list[Trial]:
    return [trial for trial in result.trials if trial.status != "running"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """The outcome of `sync`.

    Attributes:
        trials: Number of ended trials.
        written: Number of those that were missing or different in MLflow.
        link: The address of the front.
        obstacle: Why links can't use saved views; empty if they can.
    """

    trials: int
    written: int
    link: str
    obstacle: str = ""


def write_result(tracker: Tracker, result: Result) -> str:
    """Write a result and its files into a tracker; return the address of the front."""
    from tunefront.search.report.artifacts import write_artifacts

    with tempfile.TemporaryDirectory(prefix="tunefront-") as folder:
        write_artifacts(result, read_record(result.experiment), Path(folder))
        return tracker.write_result(result, Path(folder))


def sync(experiment: Experiment) -> Synced:
    """Write the record into MLflow now.

    Raises:
        StudyError: If nothing is recorded.
        TrackingError: If MLflow can't be written, or another process is writing this search.
    """
    from .projection import Projection

    study = Study.read(experiment)
    result = study_result(study)
    check_reachable(experiment)
    with only_writer(experiment):
        try:
            projection = Projection(experiment, study.search_id)
            written = projection.write_trials(result.trials, result)
            link = write_result(projection, result)
        except TrackingError:
            raise
        except Exception as error:  # MLflow raises many types; each means a failed write
            raise TrackingError(
                f"MLflow could not be written ({error_text(error)}); the record stays in the "
                "study: try again"
            ) from error
    return Synced(
        trials=len(_ended(result)), written=written, link=link, obstacle=projection.obstacle
    )


def add_to_mlflow(result: Result, found: "ProfiledTrial", search_id: str) -> str:
    """Log a profile's files below `profile/` in the trial's MLflow run; return their address.

    Raises:
        TrackingError: If MLflow can't be written, or another process is writing this search.
    """
    from .projection import Projection

    check_reachable(result.experiment)
    with only_writer(result.experiment):
        try:
            projection = Projection(result.experiment, search_id)
            projection.write_trial(found.trial, result)
            return projection.add_files(found.trial, found.folder, "profile")
        except TrackingError:
            raise
        except Exception as error:  # MLflow raises many types; each means that nothing was written
            raise TrackingError(f"MLflow could not be written ({error_text(error)})") from error
