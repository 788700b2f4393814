"""The front of recorded trials under any limits, and its picks: chosen trials with reasons."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tunefront.evaluators import Metric, MetricKind, first_of_kind
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit
from tunefront.search.study.trial import Trial
from tunefront.search.text import listed
from tunefront.spaces import ExperimentError, did_you_mean

from .chances import CHANCE_DRAWS
from .costs import compared, values_of
from .gains import gain_over
from .intervals import Intervals, uncertain_text
from .pareto import SMALLEST_DIFFERENCE, knee, nondominated
from .ties import Chances, Ties

RECOMMENDED = "recommended"
NAMES = (RECOMMENDED, "fastest", "smallest", "highest quality", "knee")
"""Names of the picks."""
SAME_QUALITY = 5e-4
"""Relative difference up to which two quality values count as the same quality."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A trial chosen from the front, with the reason.

    Attributes:
        name: `recommended`, `fastest`, `smallest`, `highest quality` or `knee`.
        trial: The chosen trial.
        reason: Text that explains the choice.
        ties: Trials that are indistinguishable from it in every objective.
        uncertain: Limits that it keeps on the estimate, but not with its whole interval.
    """

    name: str
    trial: Trial
    reason: str
    ties: tuple[Trial, ...] = ()
    uncertain: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The nondominated trials among those that keep all limits.

    Attributes:
        trials: The front, sorted by the first objective, best first.
        ties: Trials indistinguishable from a trial in every objective, by trial number.
        picks: The named picks, the recommended one first; empty if no trial keeps the limits.
        chances: Probability that a measured trial is on the front and keeps all limits, given the
            intervals of all measurements, by trial number.
    """

    trials: tuple[Trial, ...]
    ties: Mapping[int, tuple[Trial, ...]]
    picks: tuple[Pick, ...]
    chances: Mapping[int, float] = field(default_factory=dict)

    @property
    def recommended(self) -> Trial | None:
        """The recommended trial; None if no trial keeps the limits."""
        return self.picks[0].trial if self.picks else None


def front_of(
    experiment: Experiment,
    trials: Sequence[Trial],
    limits: Sequence[Limit] | None = None,
    prefer: str | None = None,
    unconfirmed: Collection[int] = (),
    draws: int = CHANCE_DRAWS,
) -> Front:
    """Return the front and its picks.

    Args:
        experiment: Objectives, limits and metrics.
        trials: All recorded trials; failed ones are ignored.
        limits: Limits that replace the experiment's; None keeps the experiment's.
        prefer: Metric that alone decides the recommendation; None uses the experiment's.
        unconfirmed: Numbers of the trials with warnings, and without an undisturbed confirmation.
            None of them is picked in place of a tied trial that is not one of them.
        draws: Monte Carlo samples of the probabilities to be on the front.

    Raises:
        ExperimentError: If `prefer` is not a metric, or was not measured in every front trial.
    """
    bounds = experiment.limits if limits is None else limits
    kept = within(trials, bounds)
    objectives, intervals = experiment.objectives, Intervals(experiment, trials)
    chances = Chances(intervals, trials, objectives, bounds, draws)
    if not kept:
        return Front(trials=(), ties={}, picks=(), chances=chances)
    costs = np.array([[trial.cost(o) for o in objectives] for trial in kept])
    best = [trial for trial, on in zip(kept, nondominated(costs), strict=True) if on]
    best.sort(key=lambda trial: trial.cost(objectives[0]))
    ties = Ties(kept, values_of(intervals, kept, objectives), unconfirmed)
    picker = _Picker(experiment, intervals, best, ties, unconfirmed, bounds)
    return Front(
        trials=tuple(best),
        ties=ties,
        picks=picker.picks(prefer, deciding(experiment, trials)),
        chances=chances,
    )


def within(trials: Sequence[Trial], limits: Sequence[Limit]) -> list[Trial]:
    """Return the measured trials that keep all limits; a missing metric breaks its limit."""
    return [
        trial
        for trial in trials
        if trial.measured and all(_keeps(trial, limit) for limit in limits)
    ]


def _keeps(trial: Trial, limit: Limit) -> bool:
    return limit.metric in trial.measurements and limit.kept(trial.value(limit.metric))


def nearest_misses(trials: Sequence[Trial], limits: Sequence[Limit], count: int = 3) -> list[Trial]:
    """Return the measured trials closest to the limits, by their largest relative violation."""

    def distance(trial: Trial) -> float:
        return max(
            limit.violation(trial.value(limit.metric)) / max(abs(limit.bound), 1e-9)
            if limit.metric in trial.measurements
            else math.inf
            for limit in limits
        )

    return sorted((trial for trial in trials if trial.measured), key=distance)[:count]


class _Picker:
    """The picks of one front.

    Args:
        experiment: Objectives and metrics.
        intervals: Intervals of the search's measurements.
        best: The trials of the front.
        ties: The trials tied with each trial within the limits.
        unconfirmed: Numbers of the unconfirmed trials.
        limits: The limits.
    """

    def __init__(
        self,
        experiment: Experiment,
        intervals: Intervals,
        best: Sequence[Trial],
        ties: Mapping[int, tuple[Trial, ...]],
        unconfirmed: Collection[int],
        limits: Sequence[Limit],
    ) -> None:
        self._experiment = experiment
        self._intervals = intervals
        self._best = best
        self._ties = ties
        self._unconfirmed = unconfirmed
        self._limits = limits

    def picks(
        self, prefer: str | None, metrics: tuple[Metric | None, Metric | None, Metric | None]
    ) -> tuple[Pick, ...]:
        """Return the picks, the recommended one first.

        Args:
            prefer: Metric that alone decides the recommendation; None uses the experiment's.
            metrics: The metrics of the fastest, the smallest and the highest-quality pick.
        """
        speed, size, quality = metrics
        trial, reason = _recommended(self._experiment, self._best, self._intervals, prefer)
        recommended = self._pick(RECOMMENDED, trial, reason, size)
        found, first = [recommended], recommended.trial
        if speed is not None:
            fastest, ties_note = self._best_with_ties(speed, first, size, "the smallest")
            reason = f"best {speed.name} on the front{ties_note}"
            found.append(self._pick("fastest", fastest, reason, size))
        if size is not None:
            smallest, ties_note = self._best_with_ties(size, first, speed, "the fastest")
            reason = f"least {size.name} on the front{ties_note}"
            found.append(self._pick("smallest", smallest, reason, size))
        if quality is not None:
            best, ties_note = self._best_with_ties(quality, first, speed, "the fastest")
            reason = f"best {quality.name} on the front{ties_note}"
            found.append(self._pick("highest quality", best, reason, size))
        costs = np.array([[t.cost(o) for o in self._experiment.objectives] for t in self._best])
        reason = "nearest to the best of every objective at once"
        found.append(self._pick("knee", self._best[knee(costs)], reason, size))
        return tuple(found)

    def _pick(self, name: str, trial: Trial, reason: str, size: Metric | None) -> Pick:
        """Return the pick of a trial, or of the simplest one tied with it."""
        tied = [trial, *self._ties[trial.number]]
        sure = [one for one in tied if one.number not in self._unconfirmed]
        chosen = simplest(self._experiment, sure or tied, size)
        if chosen is not trial:
            least = "the one closest to the baseline"
            without = f"{least} of those without warnings"
            reason += f", tied; {without if len(sure) < len(tied) else least} was chosen"
        uncertain = self._intervals.uncertain(chosen, self._limits)
        return Pick(
            name=name,
            trial=chosen,
            reason="; ".join(filter(None, [reason, uncertain_text(uncertain)])),
            ties=self._ties[chosen.number],
            uncertain=uncertain,
        )

    def _best_with_ties(
        self, metric: Metric, recommended: Trial, other: Metric | None, word: str
    ) -> tuple[Trial, str]:
        """Return the best trial by `metric` and a text about its ties in that metric.

        Ties go to the recommended trial, else to the best by `other`.

        Args:
            metric: Metric to compare by.
            recommended: The recommended trial.
            other: Metric that breaks ties; None if there is none.
            word: Text that describes the best trial by `other`.
        """
        top = _best_by(self._best, metric)
        equal = self._equal(metric, top)
        best = top if other is None else _best_by(equal, other)
        chosen = recommended if recommended in equal else best
        if len(equal) == 1:
            return chosen, ""
        others = listed([trial.number for trial in equal if trial is not chosen])
        if chosen is not recommended and other is None:
            return chosen, f" (tied with {others})"
        role = "the recommended" if chosen is recommended else word
        return chosen, f" (tied with {others}; {role} of them)"

    def _equal(self, metric: Metric, top: Trial) -> list[Trial]:
        """Return the front's trials that tie with the best one in a single metric.

        Quality ties by the paired interval of its loss, or if it differs by at most `SAME_QUALITY`.
        Of several best values the one with the narrowest interval decides.
        """
        ends = np.array([compared(self._intervals, trial, metric) for trial in self._best])
        values = np.array([trial.value(metric.name) for trial in self._best])
        place = self._best.index(top)
        least = SAME_QUALITY if metric.kind == "quality" else SMALLEST_DIFFERENCE
        scale = np.maximum(np.abs(values), np.abs(values[place]))
        near = np.abs(values - values[place]) <= least * scale
        unsure = top.number in self._unconfirmed
        able = np.array([unsure or trial.number not in self._unconfirmed for trial in self._best])
        tied = near | (ends[:, 0] <= ends[near & able, 2].min())
        return [trial for trial, same in zip(self._best, tied & able, strict=True) if same]


def simplest(experiment: Experiment, trials: Sequence[Trial], size: Metric | None) -> Trial:
    """Return the trial with the fewest choices changed from the baseline; ties go to the smallest.

    Args:
        experiment: Experiment whose baseline is compared with.
        trials: Trials to choose from; the first wins remaining ties.
        size: Metric that defines the smallest trial; None if no size metric was measured.
    """

    def key(trial: Trial) -> tuple[int, float]:
        return changes(experiment, trial), 0.0 if size is None else trial.value(size.name)

    return min(trials, key=key)


def changes(experiment: Experiment, trial: Trial) -> int:
    """Return the number of choices whose value differs from the baseline's."""
    own, base = trial.configuration, experiment.baseline
    return sum(own[name] != base.get(name) for name in own)


def deciding(
    experiment: Experiment, trials: Sequence[Trial]
) -> tuple[Metric | None, Metric | None, Metric | None]:
    """Return the metrics that define the fastest, the smallest and the highest-quality pick.

    A metric is None unless every measured trial has it: a training has no throughput, a model
    behind a remote server has no memory measurement.
    """
    measured = [trial.measurements for trial in trials if trial.measured]
    speed = _first(experiment, "speed") or experiment.rate
    size = _first(experiment, "memory") or experiment.size
    known = (
        metric if metric is not None and all(metric.name in f for f in measured) else None
        for metric in (speed, size, experiment.primary)
    )
    return next(known), next(known), next(known)


def _first(experiment: Experiment, kind: MetricKind) -> Metric | None:
    """Return the first objective's metric of a kind; None if no objective is of that kind."""
    named = (experiment.metrics[objective.metric] for objective in experiment.objectives)
    return first_of_kind(named, kind)


def _best_by(trials: Sequence[Trial], metric: Metric) -> Trial:
    sign = 1.0 if metric.direction == "minimize" else -1.0
    return min(trials, key=lambda trial: sign * trial.value(metric.name))


def _recommended(
    experiment: Experiment, best: Sequence[Trial], intervals: Intervals, prefer: str | None
) -> tuple[Trial, str]:
    """Return the recommended trial and the reason.

    It is the best by the preferred metric; without one, the trial with the largest mean gain over
    the baseline; without a measured baseline, the knee of the front.
    """
    prefer = prefer or experiment.prefer
    if prefer is not None:
        if prefer not in experiment.metrics:
            known = did_you_mean(prefer, experiment.metrics)
            raise ExperimentError(f"prefer: unknown metric {prefer!r}{known}")
        if not all(prefer in trial.measurements for trial in best):
            measured = sorted(set.intersection(*(set(trial.measurements) for trial in best)))
            raise ExperimentError(
                f"prefer: {prefer} was not measured in this search; name one of "
                f"{', '.join(measured)}"
            )
        return _best_by(best, experiment.metrics[prefer]), f"best {prefer} within limits"
    if intervals.base is None:
        costs = np.array([[t.cost(o) for o in experiment.objectives] for t in best])
        return best[knee(costs)], "nearest to the best of every objective at once"
    gain = gain_over(intervals.base, experiment.objectives, intervals)
    return max(best, key=gain), "greatest mean gain over the baseline in all objectives"
