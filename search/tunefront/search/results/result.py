"""The result of a search, and the texts about its trials that all outputs share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tunefront.evaluators import quality_sample
from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.experiment.scarcity import Scarcity, scarcity_of
from tunefront.search.front.chances import CHANCE_DRAWS
from tunefront.search.front.intervals import uncertain_text, unconfirmed_trials
from tunefront.search.front.picks import Front, front_of
from tunefront.search.sampling.early_stopping.reliability import reliability_of
from tunefront.search.study.confirmation import Confirmation, confirmed
from tunefront.search.study.inferred_failures import (
    InferredFailure,
    exclusions_by_failure,
    inferred_failures_of,
)
from tunefront.search.study.study import Study
from tunefront.search.study.trial import Trial
from tunefront.search.text import counted
from tunefront.spaces import show

from .against_references import against_references
from .failures import FailureGroup, failures_of
from .sentence import evaluated_items
from .view import TrialView, TrialViews


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class Result:
    """The result of a search so far.

    Attributes:
        experiment: The experiment.
        trials: All recorded trials, with confirmed measurements if there are any.
        front: The front within limits, and its picks.
        confirmation: The result of the confirmation.
        limits: The limits that the front keeps.
    """

    experiment: Experiment
    trials: tuple[Trial, ...]
    front: Front
    confirmation: Confirmation
    limits: tuple[Limit, ...]

    @cached_property
    def baseline(self) -> Trial | None:
        """Trial 0; None if it was not measured."""
        return next((t for t in self.trials if t.number == 0 and t.measured), None)

    @cached_property
    def unconfirmed(self) -> frozenset[int]:
        """The numbers of the unconfirmed trials."""
        return unconfirmed_trials(self.trials, self.confirmation)

    @cached_property
    def scarcity(self) -> Scarcity | None:
        """How the baseline's items are too few for the limit of quality; None if they suffice."""
        evaluation = None if self.baseline is None else self.baseline.evaluation
        if evaluation is None or not evaluation.items[0]:
            return None
        sample = quality_sample(np.array(evaluation.items), self.experiment.primary.scale)
        return scarcity_of(self.limits, sample)

    @cached_property
    def inferred_failures(self) -> list[InferredFailure]:
        """The inferred failures: configurations that failed trials exclude."""
        return inferred_failures_of(self.trials)

    @cached_property
    def ruled_out(self) -> list[tuple[InferredFailure, int]]:
        """Inferred failures, each with the number (> 0) of untried configurations it excludes."""
        return exclusions_by_failure(self.experiment.space, self.trials)

    @cached_property
    def failures(self) -> tuple[FailureGroup, ...]:
        """The failed trials, grouped by stage and cause."""
        return failures_of(self.trials)

    @property
    def skipped(self) -> int:
        """The number of untried configurations that inferred failures exclude."""
        return sum(count for _, count in self.ruled_out)

    def counts(self) -> str:
        """Return a text such as `12 trials, 2 failed, 5 skipped, 3 on the front`."""
        failed = sum(trial.status == "failed" for trial in self.trials)
        counts = [(failed, "failed"), (self.skipped, "skipped")]
        parts = [f"{count} {word}" for count, word in counts if count]
        trials = counted(len(self.trials), "trial")
        return ", ".join([trials, *parts, f"{len(self.front.trials)} on the front"])

    def headline(self) -> str:
        """Describe the recommended trial in one line, or the reason why there is none."""
        recommended = self.front.recommended
        if self.baseline is None and self.trials and self.trials[0].status == "failed":
            return f"the baseline {self.view(self.trials[0]).sentence}"
        if recommended is None:
            return "no trial meets the limits" if self.trials else "nothing has been run"
        view = self.view(recommended)
        uncertain = uncertain_text(self.front.picks[0].uncertain)
        parts = [f"{view.name}: {view.sentence}", self.against_references, uncertain]
        return "; ".join(filter(None, parts))

    @cached_property
    def against_references(self) -> str:
        """How the recommended trial compares with the best default and the current settings."""
        recommended = self.front.recommended
        if recommended is None:
            return ""
        return against_references(self.experiment, self.trials, recommended, self.limits)

    @cached_property
    def _views(self) -> TrialViews:
        return TrialViews(self.experiment, self.trials, self.front, self.confirmation, self.limits)

    @cached_property
    def views(self) -> Mapping[int, TrialView]:
        """The views of all trials by number."""
        return dict(self._views)

    def view(self, trial: Trial) -> TrialView:
        """Return the view of a trial of this result, without computing those of other trials."""
        return self._views[trial.number]

    @cached_property
    def shortlist(self) -> tuple[TrialView, ...]:
        """The views of the front, of picks tied with it, of the baseline and of references."""
        chosen = [*self.front.trials, *(p.trial for p in self.front.picks), *self.trials[:1]]
        known = {one.configuration for one in self.experiment.references}
        chosen += [t for t in self.trials if t.measured and t.configuration in known]
        return tuple(self._views[n] for n in dict.fromkeys(trial.number for trial in chosen))


def result_of(
    experiment: Experiment,
    trials: Sequence[Trial],
    confirmation: Confirmation,
    limits: Sequence[Limit] | None = None,
    prefer: str | None = None,
    draws: int = CHANCE_DRAWS,
) -> Result:
    """Compute the result from recorded trials.

    Args:
        experiment: The experiment.
        trials: All recorded trials.
        confirmation: The result of the confirmation.
        limits: Limits; the experiment's if None.
        prefer: Metric that decides the recommendation; the experiment's if None.
        draws: Monte Carlo samples of the probabilities to be on the front.
    """
    measured = confirmed(trials, confirmation, experiment.metrics)
    unconfirmed = unconfirmed_trials(measured, confirmation)
    return Result(
        experiment=experiment,
        trials=tuple(measured),
        front=front_of(experiment, measured, limits, prefer, unconfirmed, draws),
        confirmation=confirmation,
        limits=tuple(experiment.limits if limits is None else limits),
    )


def study_result(
    study: Study, limits: Sequence[Limit] | None = None, prefer: str | None = None
) -> Result:
    """Compute the result from a record, its confirmation included.

    Args:
        study: The record.
        limits: Limits; the experiment's if None.
        prefer: Metric that decides the recommendation; the experiment's if None.
    """
    return result_of(study.experiment, study.trials(), study.confirmation(), limits, prefer)


def early_ends(trials: Sequence[Trial], objectives: Sequence[Objective]) -> str:
    """Describe what early stopping has saved; empty if no trial was stopped early."""
    parts = (_quality_stops(trials), reliability_of(trials, objectives).describe())
    return "; ".join(filter(None, parts))


def _quality_stops(trials: Sequence[Trial]) -> str:
    counts = [evaluated_items(trial) for trial in trials]
    stopped = sum(evaluated < items for evaluated, items in counts)
    if not stopped:
        return ""
    share = 1 - sum(evaluated for evaluated, _ in counts) / sum(items for _, items in counts)
    return (
        f"quality evaluation stopped early in {stopped} of {len(counts)} trials: "
        f"{percent_text(share, decimals=0)} of the items saved"
    )


def rounded(value: float) -> float:
    """Round to four significant digits, for a program that prints every digit it gets."""
    return float(f"{value:.4g}")


def choices_of(trial: Trial, names: Sequence[str]) -> Mapping[str, str]:
    """Return the values of the named choices as text, `-` for a choice that is not active."""
    return {
        name: show(trial.configuration[name]) if name in trial.configuration else "-"
        for name in names
    }
