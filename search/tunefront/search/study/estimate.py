"""How long trials will take, from trials that were recorded."""

import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.resolver import SMOKE_SUFFIX
from tunefront.spaces import Configuration, StudyError

from .study import Study
from .trial import Trial, candidate_of

SAFE = 0.9
"""The share of trials that end within what is called safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What recorded trials took.

    Attributes:
        built_s: Seconds of trials that built their candidate.
        reused_s: Seconds of trials that found it built.
        candidates: What has been built.
    """

    built_s: tuple[float, ...]
    reused_s: tuple[float, ...]
    candidates: frozenset[Configuration]

    @property
    def with_build_s(self) -> float:
        """The median with building."""
        return statistics.median(self.built_s or self.reused_s)

    @property
    def without_build_s(self) -> float:
        """The median without; a third of the other where there was none."""
        if not self.reused_s:
            return self.with_build_s / 3
        return min(statistics.median(self.reused_s), self.with_build_s)

    @property
    def mean_s(self) -> float:
        """What a trial took on average."""
        return statistics.fmean((*self.built_s, *self.reused_s))

    @property
    def trials(self) -> int:
        """How many stand behind it."""
        return len(self.built_s) + len(self.reused_s)

    def seconds(self, trials: int, candidates: int) -> tuple[float, float]:
        """The least and the most that so many trials over so many candidates should take."""
        most = min(trials, candidates)
        return (
            trials * self.without_build_s,
            most * self.with_build_s + (trials - most) * self.without_build_s,
        )

    def expected_s(self, configuration: Configuration) -> float:
        """What a trial of this configuration should take."""
        built = candidate_of(configuration) in self.candidates
        return self.without_build_s if built else self.with_build_s

    def safe_s(self, configuration: Configuration) -> float:
        """What nine in ten such trials took at the most."""
        built = candidate_of(configuration) in self.candidates
        times = sorted(
            (self.reused_s if built else self.built_s) or (*self.built_s, *self.reused_s)
        )
        return max(times[int(SAFE * (len(times) - 1))], self.expected_s(configuration))


def recorded_estimate(experiment: Experiment) -> Estimate | None:
    """From this search's record, or that of its quick check; None where there is neither."""
    name = experiment.name.removesuffix(SMOKE_SUFFIX)
    for recorded in (name, name + SMOKE_SUFFIX):
        with suppress(StudyError):
            if found := estimate_of(Study.read(replace(experiment, name=recorded)).trials()):
                return found
    return None


def estimate_of(trials: Sequence[Trial]) -> Estimate | None:
    """From a record; None where nothing was measured yet."""
    measured = [
        t for t in trials if t.measured and t.evaluation and "total" in t.evaluation.seconds
    ]
    if not measured:
        return None
    built: list[float] = []
    reused: list[float] = []
    for trial in measured:
        if trial.evaluation is not None:
            times = reused if "candidate" in trial.evaluation.reused else built
            times.append(trial.evaluation.own_s)
    return Estimate(
        built_s=tuple(built),
        reused_s=tuple(reused),
        candidates=frozenset(candidate_of(trial.configuration) for trial in measured),
    )
