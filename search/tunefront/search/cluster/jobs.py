"""What a worker is told, what it does, what it asks Ray for: a trial, a round of turns."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators import (
    Contender,
    Isolation,
    Setting,
    Sitting,
    Timing,
    contender,
    evaluate,
    half_width,
    plain_look,
    take_turns,
)
from tunefront.search.sampling.early_stopping.thresholds import Race
from tunefront.search.study.live_stage import note_stage
from tunefront.spaces import Configuration, EvaluationError

from .nodes import NodePool
from .resources import ray_resources_of
from .worker import log_file

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is told.

    Attributes:
        number: The trial's number.
        configuration: What to evaluate.
        setting: What all evaluations share.
        folder: The search's folder; results and logs go below it.
        race: What it has to reach; None where it has all its turns in any case.
    """

    number: int
    configuration: Configuration
    setting: Setting
    folder: Path
    race: Race | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for Ray."""
        return {
            "number": self.number,
            "configuration": dict(self.configuration),
            "setting": self.setting.to_dict(),
            "folder": str(self.folder),
            "race": None if self.race is None else self.race.to_dict(),
        }


_isolation: Isolation | None = None


def run_job(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """Evaluate in this worker, which says what it is doing."""
    folder, number = Path(job["folder"]), job["number"]
    evaluation = evaluate(
        Setting.from_dict(job["setting"]),
        Configuration(job["configuration"]),
        _isolation_of_this_worker(),
        log_file(folder, number),
        on_stage=lambda stage: note_stage(folder, number, stage),
        judge=Race.from_dict(job["race"]).look if job.get("race") else plain_look,
    )
    return evaluation.to_dict()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsJob:
    """What a worker is told of a round of confirmation.

    Attributes:
        configurations: Who takes turns; the first is what all are compared with.
        setting: What all evaluations share.
        log: Where the output of their processes goes.
        seconds: Time for the turns; the setting's least number of turns is taken anyway.
        precision: Half-width of every ratio's interval, relative, at which to stop.
    """

    configurations: Sequence[Configuration]
    setting: Setting
    log: Path
    seconds: float
    precision: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for Ray."""
        return {
            "configurations": [dict(configuration) for configuration in self.configurations],
            "setting": self.setting.to_dict(),
            "log": str(self.log),
            "seconds": self.seconds,
            "precision": self.precision,
        }


def run_turns(job: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Let all take their turns; `rates`, `clean` and `figures` of each, {} where it failed."""
    setting, log = Setting.from_dict(job["setting"]), Path(job["log"])
    isolation = _isolation_of_this_worker()
    able: dict[int, Contender] = {}
    for place, choices in enumerate(job["configurations"]):
        with suppress(EvaluationError):  # its trial was fine; now it can't be built
            able[place] = contender(setting, Configuration(choices), isolation, log)
    if 0 not in able:
        return [{} for _ in job["configurations"]]
    sittings = play_round(
        setting, list(able.values()), isolation, log, job["seconds"], job["precision"]
    )
    found = dict(zip(able, sittings, strict=True))
    return [found.get(place, {}) for place in range(len(job["configurations"]))]


def play_round(
    setting: Setting,
    contenders: Sequence[Contender],
    isolation: Isolation,
    log: Path,
    seconds: float,
    precision: float,
) -> list[Mapping[str, Any]]:
    """Turns until every ratio to the first contender is known well enough, or the time is up."""

    def satisfied(timings: Sequence[Timing], elapsed_s: float) -> bool:
        if len(timings[0].blocks) < setting.protocol.turns:
            return False
        if elapsed_s >= seconds:
            return True
        return all(half_width(own, timings[0]) <= precision for own in timings[1:])

    session = take_turns(setting, contenders, isolation, log, satisfied)
    return [_plain(sitting) for sitting in session.sittings]


def _plain(sitting: Sitting | EvaluationError) -> Mapping[str, Any]:
    if isinstance(sitting, EvaluationError):
        return {}
    return {
        "rates": (sitting.timing.rate * sitting.timing.items).tolist(),
        "clean": sitting.timing.clean.tolist(),
        "figures": {name: m.value for name, m in sitting.measurements.items()},
    }


def _isolation_of_this_worker() -> Isolation:
    """Its fork servers stay for the next job."""
    global _isolation
    if _isolation is None:
        _isolation = Isolation()
    return _isolation


def resources_of(
    configuration: Mapping[str, Any], *, alone: bool = False, places: NodePool | None = None
) -> "PlacementGroupFactory":
    """What a trial asks Ray for: one group on one node, cores for every thread, GPUs for ranks.

    Args:
        configuration: Of the trial.
        alone: Whether nothing runs beside it on this machine. Then all trials ask for the same
            core, and one worker serves them all: a fresh one would load its runtimes again.
        places: Where trials may run; anywhere where None.
    """
    from ray.tune import PlacementGroupFactory

    bundle = ray_resources_of(configuration)
    if alone:
        bundle["CPU"] = 1.0
    selector = places.selector() if places is not None else {}
    if not selector:
        return PlacementGroupFactory([bundle])
    return PlacementGroupFactory([bundle], bundle_label_selector=[selector])
