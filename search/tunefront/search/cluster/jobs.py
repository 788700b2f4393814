"""Jobs of a worker (a trial, a round, a capacity), their execution and their Ray resources."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.evaluators import (
    NO_EARLY_STOP,
    Evaluation,
    EvaluationSettings,
    Isolation,
    catalog_for,
    confirm_round,
    evaluate,
)
from tunefront.evaluators.interfaces.polled.capacity import CapacityResult, CapacitySearch
from tunefront.evaluators.isolation.cores import CoreWait, Lessee
from tunefront.evaluators.isolation.process import Terms
from tunefront.evaluators.pipelines.base import RoundResult, RoundSettings
from tunefront.evaluators.pipelines.capacity import measure_capacity
from tunefront.search.sampling.early_stopping.thresholds import StoppingThresholds
from tunefront.search.study.live_stage import CONFIRMATION, note_stage, note_wait
from tunefront.spaces import Configuration, Resources

from .nodes import NodePool
from .resources import ray_resources_of
from .session import restore_umask
from .worker import log_file

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A trial to be run by a worker.

    Attributes:
        number: The trial's number.
        configuration: The configuration to evaluate; the worker completes it.
        settings: The evaluation settings of the search.
        folder: The search's folder; results and logs are written below it.
        lessee: The search, for others that wait for its cores.
        seconds_left: Seconds until the deadline, at which the trial ends; None without one.
        thresholds: The early-stopping thresholds; None if the trial is never stopped early.
    """

    number: int
    configuration: Configuration
    settings: EvaluationSettings
    folder: Path
    lessee: Lessee
    seconds_left: float | None = None
    thresholds: StoppingThresholds | None = None


_isolation: Isolation | None = None


def run_job(job: Job) -> Evaluation:
    """Evaluate a job in this worker and record the current stage in the search's folder."""
    isolation, thresholds = _isolation_of_this_worker(), job.thresholds
    with isolation.on_terms(_terms(job, job.number)):
        return evaluate(
            job.settings,
            catalog_for(job.settings.workload).complete(job.configuration),
            isolation,
            log_file(job.folder, job.number),
            on_stage=lambda stage: note_stage(job.folder, job.number, stage),
            interim_rule=thresholds or NO_EARLY_STOP,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsJob:
    """A confirmation round to be run by a worker.

    Attributes:
        configurations: The configurations to measure in turns; the first is the reference. The
            worker completes them.
        settings: The evaluation settings of the search.
        folder: The search's folder.
        log: The log file for the output of the measured processes.
        wanted: The round.
        lessee: The search, for others that wait for its cores.
        seconds_left: Seconds until the deadline, at which the round ends; None without one.
    """

    configurations: Sequence[Configuration]
    settings: EvaluationSettings
    folder: Path
    log: Path
    wanted: RoundSettings
    lessee: Lessee
    seconds_left: float | None = None


RUN_TURNS = "tunefront.search.cluster.jobs:run_turns"


def run_turns(job: TurnsJob) -> Sequence[RoundResult | None]:
    """Run a confirmation round in this worker; see `Pipeline.confirm` for the result."""
    catalog = catalog_for(job.settings.workload)
    group = [catalog.complete(configuration) for configuration in job.configurations]
    isolation = _isolation_of_this_worker()
    note_stage(job.folder, CONFIRMATION, "measure")
    with isolation.on_terms(_terms(job, CONFIRMATION)):
        return confirm_round(job.settings, group, isolation, job.log, job.wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityJob:
    """A search for the capacity of a finalist to be run by a worker.

    Attributes:
        configuration: The configuration; the worker completes it.
        settings: The evaluation settings of the search.
        folder: The search's folder.
        log: The log file for the output of the measured process.
        wanted: What is searched.
        lessee: The search, for others that wait for its cores.
        seconds_left: Seconds until the deadline, at which it ends; None without one.
    """

    configuration: Configuration
    settings: EvaluationSettings
    folder: Path
    log: Path
    wanted: CapacitySearch
    lessee: Lessee
    seconds_left: float | None = None


RUN_CAPACITY = "tunefront.search.cluster.jobs:run_capacity"


def run_capacity(job: CapacityJob) -> CapacityResult:
    """Search for the capacity of a finalist in this worker."""
    completed = catalog_for(job.settings.workload).complete(job.configuration)
    isolation = _isolation_of_this_worker()
    note_stage(job.folder, CONFIRMATION, "probes")
    with isolation.on_terms(_terms(job, CONFIRMATION)):
        return measure_capacity(job.settings, completed, isolation, job.log, job.wanted)


def _terms(job: Job | TurnsJob | CapacityJob, number: int | str) -> Terms:
    """Return the terms of a job; its waits are recorded in the search's folder."""

    def on_wait(wait: CoreWait | None) -> None:
        note_wait(job.folder, number, wait.text if wait is not None else "")

    left = job.seconds_left
    deadline = None if left is None else time.monotonic() + left
    return Terms(lessee=job.lessee, on_wait=on_wait, deadline=deadline)


def _isolation_of_this_worker() -> Isolation:
    """Return this worker's `Isolation`, shared by its jobs so that fork servers are reused."""
    global _isolation
    if _isolation is None:
        restore_umask()
        _isolation = Isolation()
    return _isolation


def placement_of(
    needed: Resources, *, alone: bool = False, node_pool: NodePool | None = None
) -> "PlacementGroupFactory":
    """Return a trial's Ray request: one bundle, so that cores and GPUs are on one node.

    Args:
        needed: What the trial needs while it is measured.
        alone: Whether trials run one at a time on this machine. Every trial then requests one core,
            so that Ray reuses one worker: a new worker would have to load the runtimes again.
        node_pool: The node pool; any node if None.
    """
    from ray.tune import PlacementGroupFactory

    bundle = ray_resources_of(needed)
    if alone:
        bundle["CPU"] = 1.0
    selector = node_pool.selector() if node_pool is not None else {}
    if not selector:
        return PlacementGroupFactory([bundle])
    return PlacementGroupFactory([bundle], bundle_label_selector=[selector])
