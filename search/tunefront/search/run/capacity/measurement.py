"""The measurement of the finalists' capacity on Ray, one finalist after the other."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tunefront.evaluators import EvaluationSettings
from tunefront.evaluators.interfaces.polled.capacity import CapacityResult, CapacitySearch
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.evaluators.statistics.formatting import with_interval
from tunefront.search.cluster.jobs import CapacityJob
from tunefront.search.cluster.supervisor import RayLost, RaySupervisor
from tunefront.search.run.events import (
    CapacityFinished,
    CapacityShortened,
    CapacityStarted,
    OnEvent,
)
from tunefront.search.study.live_stage import CONFIRMATION, delete_stage
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial

from .plan import first_level, to_probe


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityRun:
    """The measurement of the finalists' capacity.

    Attributes:
        study: The record; each capacity is stored in it at once.
        settings: The evaluation settings shared by all evaluations.
        supervisor: The Ray supervisor that runs the searches.
        restart: Called if Ray exits during a search, which runs again then.
        on_event: Called with each event.
        on_progress: Called with a text about the progress.
        stopped: Whether a stop was requested; queried before each search.
    """

    study: Study
    settings: EvaluationSettings
    supervisor: RaySupervisor
    restart: Callable[[RayLost, int], None]
    on_event: OnEvent
    on_progress: Callable[[str], None]
    stopped: Callable[[], bool]

    def measure(self, seconds_left: float | None) -> None:
        """Measure all that are lacking.

        Args:
            seconds_left: Seconds until the deadline; None without one. No search begins that would
                have time for too few probes.
        """
        study = self.study
        wanted = to_probe(study.experiment, study.trials(), study.confirmation())
        deadline = math.inf if seconds_left is None else time.monotonic() + seconds_left
        self.on_event(CapacityStarted())
        for done, trial in enumerate(wanted):
            self.on_progress(f"measuring the capacity: {done} of {len(wanted)} finalists")
            found = self._measured(trial, deadline - time.monotonic())
            if found is None:
                self._report_left_out(len(wanted) - done)
                return
            study.set_confirmation(study.confirmation().with_capacity(trial.number, found))
            measured = found.measurement
            text = found.shortfall if measured is None else with_interval(measured)
            self.on_event(CapacityFinished(trial=trial, text=text))

    def _measured(self, trial: Trial, left_s: float) -> CapacityResult | None:
        """Return the result of a trial's search; None after a stop, or if the time is too short."""
        experiment = self.study.experiment
        kind, seconds = experiment.confirmation.capacity, experiment.confirmation.capacity_seconds
        if kind is None:
            return None
        start = first_level(experiment, trial, kind)
        search = CapacitySearch.within(kind, start, seconds, left_s)
        if search is None:
            return None
        job = CapacityJob(
            configuration=trial.configuration,
            settings=self.settings,
            folder=experiment.results,
            log=experiment.results / "logs" / f"capacity-{trial.number:05}.log",
            wanted=search,
            lessee=Lessee.this_process(experiment.name),
            seconds_left=None if left_s == math.inf else left_s,
        )
        restarts = 0
        while not self.stopped():
            try:
                return self.supervisor.capacity(job)
            except RayLost as error:
                restarts += 1
                self.restart(error, restarts)
            finally:
                delete_stage(experiment.results, CONFIRMATION)
        return None

    def _report_left_out(self, left_out: int) -> None:
        bound = self.study.experiment.budget.deadline_text
        if bound and not self.stopped():
            self.on_event(CapacityShortened(left_out=left_out, bound=bound))
