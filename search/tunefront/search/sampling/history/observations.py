"""Trials of earlier searches as observations of the surrogates.

An observation is the earlier trial's multiple of its baseline times this search's baseline, at the
same configuration but in another search. "Search" is one more choice, and its distances follow from
the similarity of two searches. Its weight is learnt like those of other choices (a kernel over
tasks as in Swersky, Snoek and Adams 2013, "Multi-task Bayesian optimization"). A history that
predicts the trials of this search worse than they predict each other is not used (ehvi.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tunefront.evaluators import Measurement
from tunefront.evaluators.statistics.arrays import Floats
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.sampling.history.records import (
    FEWEST_TRIALS,
    MOST_TRIALS,
    PastSearch,
    PastTrial,
    Subject,
)
from tunefront.search.study.trial import Trial
from tunefront.spaces import Choice, Configuration, SearchSpace

SEARCH_CHOICE = "search"
"""Name of the choice between searches; a configuration of this search has no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierTrial:
    """A trial of an earlier search as a configuration of this one's space.

    Attributes:
        configuration: The configuration, with the search's number as the value of `SEARCH_CHOICE`.
        multiples: Metrics as multiples of the baseline's.
        differences: Metrics minus the baseline's.
    """

    configuration: Configuration
    multiples: Mapping[str, float]
    differences: Mapping[str, float]

    def measured_against(self, baseline: Trial, metrics: frozenset[str]) -> Trial | None:
        """Return the trial that this search would have measured; None if a metric is missing.

        Args:
            baseline: This search's baseline.
            metrics: The metrics that are needed.
        """
        values = {
            **{m: baseline.value(m) * v for m, v in self.multiples.items() if m in metrics},
            **{m: baseline.value(m) + v for m, v in self.differences.items() if m in metrics},
        }
        if values.keys() != metrics:
            return None
        return replace(
            baseline,
            number=-1,
            configuration=self.configuration,
            status="ok",
            measurements={m: Measurement.exact(value, "") for m, value in values.items()},
            evaluation=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSearches:
    """What surrogates learn from besides the trials of their own search.

    Attributes:
        distances: Distance of each earlier search from this one, 0 to 1.
        trials: Their trials.
    """

    distances: tuple[float, ...] = ()
    trials: tuple[EarlierTrial, ...] = ()

    def extended(self, choices: Sequence[Choice]) -> Sequence[Choice]:
        """Return the choices with the values of earlier trials, and the choice `SEARCH_CHOICE`."""
        if not self.trials:
            return choices
        return [
            *(self._widened(choice) for choice in choices),
            Choice(
                name=SEARCH_CHOICE,
                values=tuple(range(len(self.distances))),
                stage="model",
                default=0,
            ),
        ]

    @property
    def table(self) -> Floats:
        """Distances between searches, `(searches + 1, searches + 1)`; the last one is this search.

        Two earlier searches are as far apart as the farther one is from this search (an ultrametric
        distance, for which the kernels are positive semidefinite).
        """
        distances = np.array([*self.distances, 0.0])
        table: Floats = np.maximum(distances[:, None], distances[None, :])
        np.fill_diagonal(table, 0.0)
        return table

    def _widened(self, choice: Choice) -> Choice:
        """Return an ordered choice of numbers with the values of earlier trials in their places."""
        if not choice.ordered or any(isinstance(value, str) for value in choice.values):
            return choice
        known = (t.configuration.get(choice.name) for t in self.trials)
        numbers = [value for value in (*choice.values, *known) if isinstance(value, (int, float))]
        return replace(choice, values=tuple(sorted(set(numbers))))

    def observed(
        self, baseline: Trial, objectives: Sequence[Objective], limits: Sequence[Limit]
    ) -> list[Trial]:
        """Return the earlier trials that have all metrics, as trials of this search.

        Args:
            baseline: The measured baseline of this search.
            objectives: The objectives.
            limits: The limits.
        """
        metrics = frozenset([*(o.metric for o in objectives), *(limit.metric for limit in limits)])
        found = (trial.measured_against(baseline, metrics) for trial in self.trials)
        return [trial for trial in found if trial is not None]


NOTHING_EARLIER = EarlierSearches()


def earlier_searches(
    history: Sequence[PastSearch], subject: Subject, space: SearchSpace, baseline: Configuration
) -> EarlierSearches:
    """Return the trials of earlier searches that are configurations of a space.

    What a space leaves open is taken from the trial; in everything else the trial must be like this
    search's baseline, or like its own if this catalogue does not have the choice. A search with
    fewer than `FEWEST_TRIALS` such trials is left out.

    Args:
        history: The earlier searches.
        subject: What this search measures.
        space: Its space.
        baseline: Its baseline.
    """
    open_choices = {choice.name for choice in space.choices}
    fixed = space.catalog.complete(baseline)
    trials = [
        EarlierTrial(
            configuration=Configuration(
                {
                    **space.member({n: v for n, v in trial.values.items() if n in open_choices}),
                    SEARCH_CHOICE: number,
                }
            ),
            multiples=trial.multiples,
            differences=trial.differences,
        )
        for number, search in enumerate(history)
        if len(fits := [t for t in search.trials if _fits(t, search, open_choices, fixed)])
        >= FEWEST_TRIALS
        for trial in _some(fits)
    ]
    return EarlierSearches(
        distances=tuple(subject.distance(search.subject) for search in history),
        trials=tuple(trials),
    )


def _fits(
    trial: PastTrial, search: PastSearch, open_choices: set[str], fixed: Configuration
) -> bool:
    return all(
        name in open_choices or value == fixed.get(name, search.baseline.get(name))
        for name, value in trial.values.items()
    )


def _some(trials: Sequence[PastTrial]) -> Sequence[PastTrial]:
    """Return at most `MOST_TRIALS` evenly spaced trials."""
    step = max(1, -(-len(trials) // MOST_TRIALS))
    return trials[::step]
