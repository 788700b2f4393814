"""A trial's job: what a worker is told, what it does, what it asks Ray for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.evaluators import Isolation, Setting, evaluate
from tunefront.spaces import Configuration

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
    """

    number: int
    configuration: Configuration
    setting: Setting
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain values for Ray."""
        return {
            "number": self.number,
            "configuration": dict(self.configuration),
            "setting": self.setting.to_dict(),
            "folder": str(self.folder),
        }


_isolation: Isolation | None = None


def run_job(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """Evaluate in this worker; its fork servers stay for the next job."""
    global _isolation
    if _isolation is None:
        _isolation = Isolation()
    evaluation = evaluate(
        Setting.from_dict(job["setting"]),
        Configuration(job["configuration"]),
        _isolation,
        Path(job["folder"], "logs", f"{job['number']:05}.log"),
    )
    return evaluation.to_dict()


def resources_of(configuration: Mapping[str, Any]) -> "PlacementGroupFactory":
    """What a trial asks Ray for: one group on one node, cores for every thread, GPUs for ranks."""
    from ray.tune import PlacementGroupFactory

    ranks = int(configuration.get("tensor_parallel", 1))
    processes = int(configuration.get("replicas", 1)) * ranks
    bundle = {"CPU": float(configuration.get("threads", 1)) * processes}
    if configuration.get("device", "cpu") == "cuda":
        bundle["GPU"] = float(processes)
    return PlacementGroupFactory([bundle])
