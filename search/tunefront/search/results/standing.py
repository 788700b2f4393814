"""Standing of a configuration in a search: on the front, or the reason why not."""

from dataclasses import dataclass
from typing import Literal

from tunefront.search.study.trial import Trial
from tunefront.search.text import listed
from tunefront.spaces import Configuration, show

from .archive import RecordedSearch
from .view import TrialView

Position = Literal["front", "dominated", "beyond limits", "failed", "not ended", "not tried"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The standing of a configuration in one search.

    Attributes:
        trial: The trial; None if the configuration was not tried.
        place: On the front, or the class of reasons why not.
        reason: The reason as text; empty on the front and if no reason is known.
    """

    trial: Trial | None
    place: Position
    reason: str = ""


class Side:
    """An index of one search by configuration.

    Args:
        search: The recorded search.
    """

    def __init__(self, search: RecordedSearch) -> None:
        self.search = search
        self.trials: dict[Configuration, Trial] = {}
        for trial in search.result.trials:
            key = trial.catalog.without_defaults(trial.configuration)
            if key not in self.trials or (trial.measured and not self.trials[key].measured):
                self.trials[key] = trial
        self._front = search.result.front.trials
        self._inferred_failures = search.result.inferred_failures

    def standing(self, configuration: Configuration) -> Standing:
        """Return the standing of a configuration without default values."""
        trial = self.trials.get(configuration)
        if trial is None:
            return Standing(trial=None, place="not tried", reason=self._not_tried(configuration))
        if trial.status == "running":
            return Standing(trial=trial, place="not ended")
        view = self.search.result.view(trial)
        if not trial.measured:
            return Standing(trial=trial, place="failed", reason=view.sentence)
        if view.on_front:
            return Standing(trial=trial, place="front")
        if view.misses:
            why = ", ".join(miss.text for miss in view.misses)
            return Standing(trial=trial, place="beyond limits", reason=why)
        return Standing(trial=trial, place="dominated", reason=self._dominated_by(view))

    def _not_tried(self, configuration: Configuration) -> str:
        """Return why a configuration could not be tried; empty if no obstacle is known."""
        space = self.search.experiment.space
        known = {choice.name: choice for choice in space.choices}
        outside = [
            f"{name} {show(value)}"
            for name, value in configuration.items()
            if name not in known or value not in known[name].values
        ]
        if outside:
            return f"not in its space: {', '.join(outside)}"
        obstacle = space.obstacle(configuration)
        if obstacle is not None:
            return f"can't run there: {obstacle}"
        whole = space.member(configuration)
        inferred = next(
            (one for one in self._inferred_failures if one.covers(whole, space.catalog.defaults)),
            None,
        )
        return f"skipped: {inferred.reason}" if inferred is not None else ""

    def _dominated_by(self, view: TrialView) -> str:
        """List the front trials at least as good in all objectives, and which of them are tied."""
        objectives = self.search.experiment.objectives
        own = [view.trial.cost(o) for o in objectives]
        better = [
            other
            for other in self._front
            if all(other.cost(o) <= cost for o, cost in zip(objectives, own, strict=True))
        ]
        text = f"by {listed([other.number for other in better])}"
        tied = [other.number for other in better if other.number in view.ties]
        return f"{text}; tied with {listed(tied)}" if tied else text
