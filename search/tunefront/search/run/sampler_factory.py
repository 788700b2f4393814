"""The factory of the sampler that an experiment names."""

from collections.abc import Sequence

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.references import to_run
from tunefront.search.experiment.resolver import load_experiment
from tunefront.search.results.metadata import recorded_result
from tunefront.search.sampling.base import Sampler
from tunefront.search.sampling.ehvi import EhviSampler
from tunefront.search.sampling.grid import GridSampler
from tunefront.search.sampling.history.observations import NOTHING_EARLIER, EarlierSearches
from tunefront.search.sampling.optuna_samplers import OPTUNA_SAMPLERS, OptunaSampler
from tunefront.search.sampling.warm_start import WarmSampler
from tunefront.spaces import Configuration


def build_sampler(
    experiment: Experiment,
    runnable: Sequence[Configuration],
    earlier: EarlierSearches = NOTHING_EARLIER,
) -> Sampler:
    """Return the sampler that the experiment names; for a quick check, one trial per runtime.

    Args:
        experiment: The experiment.
        runnable: The configurations that can run.
        earlier: Earlier searches that the sampler `ehvi` learns from.

    Raises:
        StudyError: If the search named by `warm_start` has no record.
    """
    if experiment.smoke:
        first = {experiment.space.catalog.complete(c)["runtime"]: c for c in reversed(runnable)}
        return GridSampler(list(first.values()))
    sampler = _named(experiment, runnable, earlier)
    listed = set(runnable)
    references = to_run(experiment.references, experiment.baseline)
    first_tried = {one: name for one, name in references.items() if one in listed}
    if experiment.warm_start is not None:
        other = load_experiment(experiment.warm_start)
        front = _front_of_other(experiment, other, runnable)
        for one in front:
            first_tried.setdefault(one, f"on the front of {other.name}")
    return WarmSampler(sampler, first_tried) if first_tried else sampler


def _named(
    experiment: Experiment, runnable: Sequence[Configuration], earlier: EarlierSearches
) -> Sampler:
    if experiment.sampler == "grid":
        return GridSampler(runnable)
    if experiment.sampler == "ehvi":
        return EhviSampler(
            experiment.space.choices,
            runnable,
            experiment.objectives,
            experiment.limits,
            experiment.seed,
            earlier,
        )
    return OptunaSampler(
        experiment.space,
        runnable,
        experiment.objectives,
        experiment.limits,
        OPTUNA_SAMPLERS[experiment.sampler](experiment.seed),
    )


def _front_of_other(
    experiment: Experiment, other: Experiment, runnable: Sequence[Configuration]
) -> list[Configuration]:
    """Return the other search's front as configurations of this one, the recommended one first.

    Choices that only this space has get their defaults. Choices that only the other space has are
    dropped, and so are configurations that can't run here.

    Raises:
        StudyError: If the other search has no record.
    """
    front = recorded_result(other).front
    first = [front.recommended] if front.recommended is not None else []
    names = {choice.name for choice in experiment.space.choices}
    found = []
    for trial in [*first, *front.trials]:
        known = {name: value for name, value in trial.configuration.items() if name in names}
        found.append(experiment.space.member(known))
    listed = set(runnable)
    return [configuration for configuration in dict.fromkeys(found) if configuration in listed]
