"""What to try next; a new sampler is one file here and its line below."""

from collections.abc import Sequence

from tunefront.search.experiment import Experiment
from tunefront.spaces import Configuration

from .base import Sampler
from .ehvi import EhviSampler
from .grid import GridSampler
from .optuna_based import OPTUNA_SAMPLERS, OptunaSampler


def build_sampler(experiment: Experiment, runnable: Sequence[Configuration]) -> Sampler:
    """The sampler that the experiment names; for a quick check, one trial a runtime."""
    if experiment.smoke:
        first = {c.get("runtime"): c for c in reversed(runnable)}
        return GridSampler(list(first.values()))
    if experiment.sampler == "grid":
        return GridSampler(runnable)
    if experiment.sampler == "ehvi":
        return EhviSampler(
            experiment.space.choices,
            runnable,
            experiment.objectives,
            experiment.limits,
            experiment.seed,
        )
    return OptunaSampler(
        experiment.space,
        runnable,
        experiment.objectives,
        experiment.limits,
        OPTUNA_SAMPLERS[experiment.sampler](experiment.seed),
    )


__all__ = [
    "OPTUNA_SAMPLERS",
    "EhviSampler",
    "GridSampler",
    "OptunaSampler",
    "Sampler",
    "build_sampler",
]
