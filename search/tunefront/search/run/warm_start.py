"""Warm start: the front of another search as configurations of this one."""

from collections.abc import Sequence

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.results.metadata import recorded_result
from tunefront.spaces import Configuration


def front_of_other(
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
