"""Estimates of trial durations from recorded trials."""

import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tunefront.evaluators import Evaluation, WorkloadSpec, load_levels
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.resolver import SMOKE_S, SMOKE_SUFFIX
from tunefront.spaces import Catalog, Configuration, StudyError

from .study import Study
from .trial import Trial, candidate_of

SAFE = 0.9
"""Quantile of recorded durations that `Estimate.safe_s` returns."""
EXPORT_TRIALS = 2.0
"""Trials that take as long as an export, which starts and measures the candidate twice."""
RECENT = 5
"""Number of the last trials whose waiting is expected of the next ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Durations of recorded trials.

    Attributes:
        built_s: Seconds of trials that built their candidate, without waiting.
        reused_s: Seconds of trials that reused a built candidate, without waiting.
        waiting: Seconds of the last trials with waiting, as a multiple of those without.
        candidates: Candidates that have been built.
        catalog: The catalogue of the choices.
    """

    built_s: tuple[float, ...]
    reused_s: tuple[float, ...]
    candidates: frozenset[Configuration]
    waiting: float = 1.0
    catalog: Catalog = field(repr=False, compare=False)

    @property
    def with_build_s(self) -> float:
        """Median seconds of a trial that builds its candidate."""
        return statistics.median(self.built_s or self.reused_s)

    @property
    def without_build_s(self) -> float:
        """Median seconds without a build, at most `with_build_s`; a third of it if unknown."""
        if not self.reused_s:
            return self.with_build_s / 3
        return min(statistics.median(self.reused_s), self.with_build_s)

    @property
    def mean_s(self) -> float:
        """Mean seconds of a trial, with waiting."""
        return self.waiting * statistics.fmean((*self.built_s, *self.reused_s))

    @property
    def trials(self) -> int:
        """Number of trials behind the estimate."""
        return len(self.built_s) + len(self.reused_s)

    def seconds(self, trials: int, candidates: int) -> tuple[float, float]:
        """Return the expected minimum and maximum seconds of further trials, with waiting.

        The minimum assumes no build, the maximum a build of every candidate.

        Args:
            trials: Number of trials.
            candidates: Number of candidates that they use.
        """
        most = min(trials, candidates)
        longest_s = most * self.with_build_s + (trials - most) * self.without_build_s
        return self.waiting * trials * self.without_build_s, self.waiting * longest_s

    def expected_s(self, configuration: Configuration) -> float:
        """Return the expected seconds of a trial of this configuration, without waiting."""
        built = candidate_of(configuration, self.catalog) in self.candidates
        return self.without_build_s if built else self.with_build_s

    def safe_s(self, configuration: Configuration) -> float:
        """Return the 90 % quantile of the seconds of such trials, with waiting."""
        built = candidate_of(configuration, self.catalog) in self.candidates
        times = sorted(
            (self.reused_s if built else self.built_s) or (*self.built_s, *self.reused_s)
        )
        safe_s = max(times[int(SAFE * (len(times) - 1))], self.expected_s(configuration))
        return self.waiting * safe_s


def recorded_estimate(experiment: Experiment) -> Estimate | None:
    """Return the estimate from this search's record, else from its quick check's, else None."""
    name = experiment.name.removesuffix(SMOKE_SUFFIX)
    for recorded in (name, name + SMOKE_SUFFIX):
        with suppress(StudyError):
            trials = Study.read(replace(experiment, name=recorded)).trials()
            quick = recorded != experiment.name
            if found := estimate_of(trials, _longer(experiment) if quick else _as_long):
                return found
    return None


Longer = Callable[[Evaluation], float]
"""Returns the seconds that a trial takes more than its evaluation took."""


def _as_long(evaluation: Evaluation) -> float:
    return 0.0


def _longer(experiment: Experiment) -> Longer:
    """Return how much longer a trial takes than in a quick check: more items, longer measuring."""
    levels = len(load_levels(experiment.workload))
    measured_s = levels * max(0.0, experiment.protocol.seconds - SMOKE_S)
    items = _number_of_items(experiment.workload)

    def longer(evaluation: Evaluation) -> float:
        quick = evaluation.facts.get("items")
        factor = items / int(quick) if items is not None and quick else 1.0
        return measured_s + evaluation.seconds.get("quality", 0.0) * max(0.0, factor - 1)

    return longer


def _number_of_items(workload: WorkloadSpec) -> int | None:
    """Return the number of items that quality is evaluated on, by the lines of the data file."""
    if not isinstance(workload.data, str) or not (path := workload.path(workload.data)).is_file():
        return workload.items
    with path.open("rb") as file:
        lines = sum(1 for line in file if line.strip())
    return lines if workload.items is None else min(lines, workload.items)


def estimate_of(trials: Sequence[Trial], longer: Longer = _as_long) -> Estimate | None:
    """Return the estimate from recorded trials; None if none was measured.

    Args:
        trials: The recorded trials.
        longer: What each trial takes more than its recorded time.
    """
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
            times.append(trial.evaluation.own_s + longer(trial.evaluation))
    last = [trial.evaluation for trial in measured[-RECENT:] if trial.evaluation is not None]
    own_s = sum(evaluation.own_s for evaluation in last)
    return Estimate(
        built_s=tuple(built),
        reused_s=tuple(reused),
        candidates=frozenset(trial.candidate for trial in measured),
        waiting=sum(e.seconds["total"] for e in last) / own_s if own_s else 1.0,
        catalog=measured[0].catalog,
    )
