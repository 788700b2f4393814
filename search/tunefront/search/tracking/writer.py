"""MLflow beside the search: written when it can be, never waited for.

The study is the spool: an answer holds every trial, and writing it again changes nothing. So what
one attempt could not write, the next one does, be it of this night, of the next, or of `sync`.
"""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import read_record
from tunefront.search.results.result import Answer, answer_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
from tunefront.search.text import Say, counted, listed
from tunefront.spaces import TrackingError

from .store import check_reachable, error_text, only_writer

if TYPE_CHECKING:
    from .projection import Projection

LONGEST_PAUSE_S = 60.0
LAST_ATTEMPTS = 2
"""At the end of the night; the second finds a server that had only closed a connection."""
STANDSTILL_S = 30.0
LAST_S = 120.0
"""How long the end of the night waits: without a trial written, and in all."""


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return float(min(2**failures, LONGEST_PAUSE_S))


class Recorder:
    """MLflow, written by one thread beside the search.

    Args:
        experiment: What is searched.
        study: Its record.
        say: Called with a line where MLflow goes away, and where it is back.
    """

    def __init__(self, experiment: Experiment, study: Study, say: Say) -> None:
        self._experiment = experiment
        self._search_id = study.search_id
        self._say = say
        self._newest: Answer | None = None
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._given_up = False
        self._thread = threading.Thread(target=self._loop, name="recorder", daemon=True)
        self._held = ExitStack()
        self._projection: Projection | None = None
        self._written: dict[int, _Place] = {}
        self._progress = time.monotonic()
        self._problem = ""
        self._shown = False
        self._link = ""

    def start(self) -> None:
        """Start writing."""
        self._wake.set()
        self._thread.start()

    def add(self, answer: Answer) -> None:
        """Something new to write; only the newest is."""
        self._newest = answer
        self._wake.set()

    def finish(self, answer: Answer) -> str:
        """Write everything; the link to the front, or nothing where MLflow could not be written."""
        self._newest = answer
        start = self._progress = time.monotonic()
        self._ending.set()
        self._wake.set()
        late = ""
        while self._thread.is_alive() and not (late := self._too_long(start)):
            self._thread.join(0.2)
        self._given_up = True
        if not self._link:
            self._say(self._what_is_missing(answer, self._problem or late))
        return self._link

    def _too_long(self, start: float) -> str:
        """Why the end of the night waits no longer; empty while it does."""
        now = time.monotonic()
        if now - self._progress > STANDSTILL_S:
            return f"no answer in {STANDSTILL_S:.0f} s"
        return f"not done in {LAST_S:.0f} s" if now - start > LAST_S else ""

    def _loop(self) -> None:
        """Write the newest answer when there is one; where that fails, again after a pause."""
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
                except Exception as error:  # MLflow raises many kinds; the study has it all anyway
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
        projection, answer = self._open(), self._newest
        if answer is None:
            return
        places = _places(answer)
        for trial in sorted(_ended(answer), key=lambda trial: trial.number in self._written):
            if self._given_up:
                return
            if not last and self._written.get(trial.number) == places[trial.number]:
                continue  # its chances may have moved a little; that waits until the end
            projection.write_trial(trial, answer)
            self._written[trial.number] = places[trial.number]
            self._progress = time.monotonic()
        if last:
            self._link = projection.write_summary(answer, read_record(self._experiment))
            if projection.obstacle:
                self._say(without_views(projection.obstacle))
        elif not self._shown:
            projection.write_views(answer)  # so that the front is a link away while the search runs
            self._shown = True

    def _open(self) -> "Projection":
        from .projection import Projection

        if self._projection is None:
            self._held.enter_context(only_writer(self._experiment))
            self._projection = Projection(self._experiment, self._search_id)
        return self._projection

    def _failed(self, error: Exception, failures: int) -> None:
        """Once it has failed twice it is told; a hiccup is not."""
        self._projection = None  # what it knows of MLflow may no longer hold
        self._held.close()
        self._problem = error_text(error)
        if failures == 2 and not self._ending.is_set():
            self._say(
                f"MLflow can't be written ({self._problem}); the search goes on, and it is tried "
                "again"
            )

    def _succeeded(self, failures: int) -> None:
        self._problem = ""
        if failures > 1 and not self._ending.is_set():
            self._say(f"MLflow is back: {counted(len(self._written), 'trial')} written")

    def _what_is_missing(self, answer: Answer, why: str) -> str:
        left = [trial.number for trial in _ended(answer) if trial.number not in self._written]
        trials = f"{counted(len(left), 'trial')} ({listed(left)}) and " if left else ""
        smoke = " --smoke" if self._experiment.smoke else ""
        return (
            f"MLflow could not be written ({why}); not there yet: {trials}the front; nothing is "
            f"lost: `tunefront sync {self._experiment.path}{smoke}` writes it once MLflow is back"
        )


_Place = tuple[bool, tuple[str, ...]]
"""Whether a trial is on the front, and the picks that it is."""


def _places(answer: Answer) -> dict[int, _Place]:
    """Where each trial stands."""
    on_front = {trial.number for trial in answer.front.trials}
    picks: dict[int, tuple[str, ...]] = {}
    for pick in answer.front.picks:
        picks[pick.trial.number] = (*picks.get(pick.trial.number, ()), pick.name)
    return {t.number: (t.number in on_front, picks.get(t.number, ())) for t in answer.trials}


def _ended(answer: Answer) -> list[Trial]:
    return [trial for trial in answer.trials if trial.status != "running"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What `sync` did.

    Attributes:
        trials: How many trials have ended.
        written: How many of them MLflow did not hold as they are.
        link: Where it shows the front.
        obstacle: Why links do without saved views; empty where they need not.
    """

    trials: int
    written: int
    link: str
    obstacle: str = ""


def sync(experiment: Experiment) -> Synced:
    """Write the record into MLflow now.

    Raises:
        StudyError: If nothing has been run.
        TrackingError: If MLflow can't be written, or a search that is running writes it.
    """
    from .projection import Projection

    study = Study.read(experiment)
    confirmation = Confirmation.from_dict(study.confirmation())
    answer = answer_of(experiment, study.trials(), confirmation)
    check_reachable(experiment)
    with only_writer(experiment):
        try:
            projection = Projection(experiment, study.search_id)
            written = projection.write_trials(answer.trials, answer)
            link = projection.write_summary(answer, read_record(experiment))
        except TrackingError:
            raise
        except Exception as error:  # MLflow raises many kinds; each means: not written
            raise TrackingError(
                f"MLflow could not be written ({error_text(error)}); the record stays in the "
                "study: try again"
            ) from error
    return Synced(
        trials=len(_ended(answer)), written=written, link=link, obstacle=projection.obstacle
    )


def without_views(obstacle: str) -> str:
    """What the obstacle means to who follows a link."""
    return f"MLflow: {obstacle}; the links show the same rows, without columns and charts of ours"
