"""Where a configuration stands in a search: on the front, or why not."""

from dataclasses import dataclass
from typing import Literal

from tunefront.search.study.trial import Trial
from tunefront.search.text import listed
from tunefront.spaces import CHOICES, Configuration, show

from .archive import RecordedSearch

Position = Literal["front", "beaten", "beyond limits", "failed", "not ended", "not tried"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a configuration stands in one search.

    Attributes:
        trial: Its trial; None where it was not tried.
        place: On the front, or why not.
        why: More about that, in words; empty on the front.
    """

    trial: Trial | None
    place: Position
    why: str = ""


def plain(configuration: Configuration) -> Configuration:
    """A configuration without the choices that are at their default: one form for every space."""
    return Configuration(
        {
            name: value
            for name, value in configuration.items()
            if name not in CHOICES or value != CHOICES[name].default
        }
    )


class Side:
    """One search, looked up by configuration.

    Args:
        search: The search.
    """

    def __init__(self, search: RecordedSearch) -> None:
        self.search = search
        self.trials: dict[Configuration, Trial] = {}
        for trial in search.answer.trials:
            key = plain(trial.configuration)
            if key not in self.trials or (trial.measured and not self.trials[key].measured):
                self.trials[key] = trial
        self._front = search.answer.front.trials
        self._lessons = search.answer.lessons

    def standing(self, configuration: Configuration) -> Standing:
        """Where a configuration stands; it is written as `plain` writes it."""
        trial = self.trials.get(configuration)
        if trial is None:
            return Standing(trial=None, place="not tried", why=self._not_tried(configuration))
        if trial.status == "running":
            return Standing(trial=trial, place="not ended")
        if not trial.measured:
            why = self.search.answer.sentence(trial)
            return Standing(trial=trial, place="failed", why=why)
        if trial.number in {other.number for other in self._front}:
            return Standing(trial=trial, place="front")
        broken = [
            f"{limit} ({trial.value(limit.metric):.4g})"
            for limit in self.search.experiment.limits
            if not limit.kept(trial.value(limit.metric))
        ]
        if broken:
            return Standing(trial=trial, place="beyond limits", why=", ".join(broken))
        return Standing(trial=trial, place="beaten", why=self._beaten(trial))

    def _not_tried(self, configuration: Configuration) -> str:
        """Why it could not be, as far as the record tells; empty where it just was not."""
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
        whole = space.complete(configuration)
        lesson = next((one for one in self._lessons if one.covers(whole)), None)
        return f"skipped: {lesson.reason}" if lesson is not None else ""

    def _beaten(self, trial: Trial) -> str:
        """Who beats it, and whether that can be told."""
        objectives = self.search.experiment.objectives
        own = [trial.cost(o) for o in objectives]
        better = [
            other
            for other in self._front
            if all(other.cost(o) <= cost for o, cost in zip(objectives, own, strict=True))
        ]
        tied = {other.number for other in self.search.answer.front.ties.get(trial.number, ())}
        told = f"by {listed([other.number for other in better])}"
        alike = [other.number for other in better if other.number in tied]
        return f"{told}; can't be told apart from {listed(alike)}" if alike else told
