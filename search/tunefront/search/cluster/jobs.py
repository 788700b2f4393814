"""Jobs of a worker (a trial, a confirmation round), their execution and their Ray resources."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators import (
    Evaluation,
    EvaluationSettings,
    Isolation,
    Target,
    TargetResult,
    Timing,
    contender,
    evaluate,
    half_width,
    plain_look,
    take_turns,
)
from tunefront.search.sampling.early_stopping.thresholds import StoppingThresholds
from tunefront.search.study.live_stage import note_stage
from tunefront.spaces import Configuration, EvaluationError, complete

from .nodes import NodePool
from .resources import ray_resources_of
from .worker import log_file

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A trial to be run by a worker.

    Attributes:
        number: The trial's number.
        configuration: The configuration to evaluate; the worker completes it.
        setting: The evaluation settings of the search.
        folder: The search's folder; results and logs are written below it.
        race: The early-stopping thresholds; None if the trial is never stopped early.
    """

    number: int
    configuration: Configuration
    setting: EvaluationSettings
    folder: Path
    race: StoppingThresholds | None = None


_isolation: Isolation | None = None


def run_job(job: Job) -> Evaluation:
    """Evaluate a job in this worker and record the current stage in the search's folder."""
    return evaluate(
        job.setting,
        complete(job.configuration),
        _isolation_of_this_worker(),
        log_file(job.folder, job.number),
        on_stage=lambda stage: note_stage(job.folder, job.number, stage),
        judge=job.race.look if job.race is not None else plain_look,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsJob:
    """A confirmation round to be run by a worker.

    Attributes:
        configurations: The configurations to measure in turns; the first is the reference. The
            worker completes them.
        setting: The evaluation settings of the search.
        log: The log file for the output of the measured processes.
        seconds: Time for the turns, s; the minimum number of turns is measured in any case.
        precision: Relative half-width of the interval of every ratio at which to stop.
    """

    configurations: Sequence[Configuration]
    setting: EvaluationSettings
    log: Path
    seconds: float
    precision: float


RUN_TURNS = "tunefront.search.cluster.jobs:run_turns"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """Result of one configuration in a confirmation round.

    Attributes:
        rates: Items per second of each turn.
        clean: Whether each turn was undisturbed.
        figures: Values by metric.
    """

    rates: Sequence[float]
    clean: Sequence[bool]
    figures: Mapping[str, float]


def run_turns(job: TurnsJob) -> Sequence[RoundResult | None]:
    """Run a confirmation round in this worker.

    Returns:
        A result for each configuration. None for a configuration that failed, and for all of them
        if the first can't be built.
    """
    isolation = _isolation_of_this_worker()
    able: dict[int, Target] = {}
    for place, choices in enumerate(job.configurations):
        with suppress(EvaluationError):  # its trial succeeded, but a later build can still fail
            able[place] = contender(job.setting, complete(choices), isolation, job.log)
    if 0 not in able:
        return [None] * len(job.configurations)
    sittings = play_round(
        job.setting, list(able.values()), isolation, job.log, job.seconds, job.precision
    )
    found = dict(zip(able, sittings, strict=True))
    return [found.get(place) for place in range(len(job.configurations))]


def play_round(
    setting: EvaluationSettings,
    contenders: Sequence[Target],
    isolation: Isolation,
    log: Path,
    seconds: float,
    precision: float,
) -> list[RoundResult | None]:
    """Run interleaved turns until every ratio to the first target is precise, or time is up.

    Args:
        setting: The evaluation settings, which set the minimum number of turns.
        contenders: The measurement targets; the first is the reference.
        isolation: Starts the processes of the targets.
        log: The log file for the output of the processes.
        seconds: Time for the turns, s.
        precision: Relative half-width of the interval of every ratio at which to stop.
    """

    def satisfied(timings: Sequence[Timing], elapsed_s: float) -> bool:
        if len(timings[0].blocks) < setting.protocol.turns:
            return False
        if elapsed_s >= seconds:
            return True
        return all(half_width(own, timings[0]) <= precision for own in timings[1:])

    session = take_turns(setting, contenders, isolation, log, satisfied)
    return [_round_result(sitting) for sitting in session.sittings]


def _round_result(sitting: TargetResult | EvaluationError) -> RoundResult | None:
    if isinstance(sitting, EvaluationError):
        return None
    return RoundResult(
        rates=(sitting.timing.rate * sitting.timing.items).tolist(),
        clean=sitting.timing.clean.tolist(),
        figures={name: m.value for name, m in sitting.measurements.items()},
    )


def _isolation_of_this_worker() -> Isolation:
    """Return this worker's `Isolation`, shared by its jobs so that fork servers are reused."""
    global _isolation
    if _isolation is None:
        _isolation = Isolation()
    return _isolation


def placement_of(
    configuration: Mapping[str, Any], *, alone: bool = False, places: NodePool | None = None
) -> "PlacementGroupFactory":
    """Return a trial's Ray request: one bundle, so that cores and GPUs are on one node.

    Args:
        configuration: The trial's configuration.
        alone: Whether trials run one at a time on this machine. Every trial then requests one core,
            so that Ray reuses one worker: a new worker would have to load the runtimes again.
        places: The node pool; any node if None.
    """
    from ray.tune import PlacementGroupFactory

    bundle = ray_resources_of(configuration)
    if alone:
        bundle["CPU"] = 1.0
    selector = places.selector() if places is not None else {}
    if not selector:
        return PlacementGroupFactory([bundle])
    return PlacementGroupFactory([bundle], bundle_label_selector=[selector])
