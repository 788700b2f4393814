"""The factory of the sampler that an experiment names."""

from collections.abc import Sequence

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.references import to_run
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.sampling.base import Sampler
from tunefront.search.sampling.ehvi import EhviSampler
from tunefront.search.sampling.grid import GridSampler
from tunefront.search.sampling.known_good import known_good
from tunefront.search.sampling.optuna_samplers import OPTUNA_SAMPLERS, OptunaSampler
from tunefront.search.sampling.warm_start import WarmSampler
from tunefront.spaces import Configuration

from .warm_start import front_of_other


def build_sampler(experiment: Experiment, runnable: Sequence[Configuration]) -> Sampler:
    """Return the sampler that the experiment names; for a quick check, one trial per runtime.

    Raises:
        StudyError: If the search named by `warm_start` has no record.
    """
    if experiment.smoke:
        first = {experiment.space.catalog.complete(c)["runtime"]: c for c in reversed(runnable)}
        return GridSampler(list(first.values()))
    sampler = _named(experiment, runnable)
    listed = set(runnable)
    references = to_run(experiment.references, experiment.baseline)
    first_tried = {one: name for one, name in references.items() if one in listed}
    if experiment.warm_start is not None:
        other = load_experiment(experiment.warm_start)
        front = front_of_other(experiment, other, runnable)
        for one in front:
            first_tried.setdefault(one, f"on the front of {other.name}")
    if experiment.sampler == "ehvi":
        for known in known_good(experiment, runnable):
            first_tried.setdefault(known, "known to be good on this kind of device")
    return WarmSampler(sampler, first_tried) if first_tried else sampler


def _named(experiment: Experiment, runnable: Sequence[Configuration]) -> Sampler:
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
