"""The front of recorded trials under any limits, and its picks: chosen trials with reasons."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tunefront.evaluators import Measurement, Metric, MetricKind, first_of_kind
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.trial import Trial
from tunefront.search.text import listed
from tunefront.spaces import ExperimentError, did_you_mean

from .pareto import Costs, chances, indistinguishable, knee, nondominated

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
    """

    name: str
    trial: Trial
    reason: str
    ties: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The nondominated trials among those that keep all limits.

    Attributes:
        trials: The front, sorted by the first objective, best first.
        ties: Trials indistinguishable from a trial in every objective, by trial number.
        picks: The named picks, the recommended one first; empty if no trial keeps the limits.
        chances: Probability that a trial is on the front, given the intervals of all measurements,
            by trial number.
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
) -> Front:
    """Return the front and its picks.

    Args:
        experiment: Objectives, limits and metrics.
        trials: All recorded trials; failed ones are ignored.
        limits: Limits that replace the experiment's; None keeps the experiment's.
        prefer: Metric that alone decides the recommendation; None uses the experiment's.

    Raises:
        ExperimentError: If `prefer` is not a metric, or was not measured in every front trial.
    """
    bounds = experiment.limits if limits is None else limits
    kept = within(trials, bounds)
    if not kept:
        return Front(trials=(), ties={}, picks=())
    objectives = experiment.objectives
    costs = np.array([[trial.cost(o) for o in objectives] for trial in kept])
    best = [trial for trial, on in zip(kept, nondominated(costs), strict=True) if on]
    best.sort(key=lambda trial: trial.cost(objectives[0]))
    spread = spread_of(kept, objectives, experiment.primary)
    ties = Ties(kept, spread)
    baseline = next((trial for trial in trials if trial.number == 0 and trial.measured), None)
    metrics = deciding(experiment, trials)
    picks = _picks(experiment, best, ties, baseline, prefer, bounds, metrics)
    trial_chances = zip(kept, chances(*spread), strict=True)
    return Front(
        trials=tuple(best),
        ties=ties,
        picks=picks,
        chances={trial.number: float(chance) for trial, chance in trial_chances},
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


def _paired_loss(trial: Trial, objective: Objective, primary: Metric) -> Measurement | None:
    """Return the quality drop if the objective is the primary quality metric.

    Its interval is valid for comparisons between trials, because it is paired item by item.
    """
    return trial.measurements.get(QUALITY_DROP.name) if objective.metric == primary.name else None


def spread_of(
    trials: Sequence[Trial], objectives: Sequence[Objective], primary: Metric
) -> tuple[Costs, Costs, Costs]:
    """Return values, lower ends and upper ends as costs, `(trials, objectives)` each."""
    losses = [[_paired_loss(trial, o, primary) for o in objectives] for trial in trials]
    rows = [
        [
            trial.measurements[o.metric] if loss is None else loss
            for o, loss in zip(objectives, row, strict=True)
        ]
        for trial, row in zip(trials, losses, strict=True)
    ]
    # The quality drop is a loss whatever the direction of the quality metric.
    signs = np.array(
        [
            [o.sign if loss is None else 1.0 for o, loss in zip(objectives, row, strict=True)]
            for row in losses
        ]
    )
    middle = signs * np.array([[m.value for m in row] for row in rows])
    ends = [signs * np.array([[getattr(m, e) for m in r] for r in rows]) for e in ("low", "high")]
    return middle, np.minimum(*ends), np.maximum(*ends)


class Ties(Mapping[int, tuple[Trial, ...]]):
    """Trials indistinguishable from a trial in every objective, by number; computed on access.

    Args:
        trials: Trials that are compared.
        spread: Their values, lower ends and upper ends, as `spread_of` returns them.
    """

    def __init__(self, trials: Sequence[Trial], spread: tuple[Costs, Costs, Costs]) -> None:
        self._trials = trials
        self._spread = spread
        self._places = {trial.number: place for place, trial in enumerate(trials)}

    def __getitem__(self, number: int) -> tuple[Trial, ...]:
        """Return the tied trials, without the trial itself; KeyError if it is not compared."""
        place, (_, low, high) = self._places[number], self._spread
        same = np.flatnonzero(indistinguishable(low, high, place))
        return tuple(self._trials[int(other)] for other in same if other != place)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the trial numbers, in the order of the trials."""
        return iter(self._places)

    def __len__(self) -> int:
        """Return the number of compared trials."""
        return len(self._places)


def _picks(
    experiment: Experiment,
    best: Sequence[Trial],
    ties: Mapping[int, tuple[Trial, ...]],
    baseline: Trial | None,
    prefer: str | None,
    limits: Sequence[Limit],
    metrics: tuple[Metric | None, Metric | None, Metric | None],
) -> tuple[Pick, ...]:
    speed, size, quality = metrics
    found: list[Pick] = []

    def add(name: str, trial: Trial, reason: str) -> None:
        chosen = simplest(experiment, [trial, *ties[trial.number]], size)
        if chosen is not trial:
            reason += ", tied; the one closest to the baseline was chosen"
        unsure = [str(lim) for lim in limits if not lim.certain(chosen.measurements[lim.metric])]
        if unsure:
            reason += f"; meets {' and '.join(unsure)} on the estimate"
            reason += "; the 95 % interval crosses the limit"
        found.append(Pick(name=name, trial=chosen, reason=reason, ties=ties[chosen.number]))

    trial, reason = _recommended(experiment, best, baseline, prefer)
    add(RECOMMENDED, trial, reason)
    first = found[0].trial
    if speed is not None:
        fastest, ties_note = _best_with_ties(best, speed, first, size, "the smallest")
        add("fastest", fastest, f"best {speed.name} on the front{ties_note}")
    if size is not None:
        smallest, ties_note = _best_with_ties(best, size, first, speed, "the fastest")
        add("smallest", smallest, f"least {size.name} on the front{ties_note}")
    if quality is not None:
        best_quality = _best_quality(best, quality, first, speed)
        add("highest quality", best_quality, f"best {quality.name} on the front")
    costs = np.array([[t.cost(o) for o in experiment.objectives] for t in best])
    add("knee", best[knee(costs)], "nearest to the best of every objective at once")
    return tuple(found)


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


def _best_with_ties(
    trials: Sequence[Trial], metric: Metric, recommended: Trial, other: Metric | None, word: str
) -> tuple[Trial, str]:
    """Return the best trial by `metric` and a text about its ties in that metric.

    Ties go to the recommended trial, else to the best by `other`.

    Args:
        trials: Trials to choose from.
        metric: Metric to compare by.
        recommended: The recommended trial.
        other: Metric that breaks ties; None if there is none.
        word: Text that describes the best trial by `other`.
    """
    measurements = [trial.measurements[metric.name] for trial in trials]
    low, high = (np.array([[getattr(f, end)] for f in measurements]) for end in ("low", "high"))
    top = trials.index(_best_by(trials, metric))
    equal = [trials[int(i)] for i in np.flatnonzero(indistinguishable(low, high, top))]
    best = trials[top] if other is None else _best_by(equal, other)
    chosen = recommended if recommended in equal else best
    if len(equal) == 1:
        return chosen, ""
    others = listed([trial.number for trial in equal if trial is not chosen])
    if chosen is not recommended and other is None:
        return chosen, f" (tied with {others})"
    role = "the recommended" if chosen is recommended else word
    return chosen, f" (tied with {others}; {role} of them)"


def _best_quality(
    trials: Sequence[Trial], quality: Metric, recommended: Trial, speed: Metric | None
) -> Trial:
    """Return the best trial by quality; at the same quality, the recommended or the fastest."""
    best = _best_by(trials, quality)
    top = best.value(quality.name)
    equal = [t for t in trials if abs(t.value(quality.name) - top) <= SAME_QUALITY * abs(top)]
    if recommended in equal:
        return recommended
    return best if speed is None else _best_by(equal, speed)


def _recommended(
    experiment: Experiment, best: Sequence[Trial], baseline: Trial | None, prefer: str | None
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
    if baseline is None:
        costs = np.array([[t.cost(o) for o in experiment.objectives] for t in best])
        return best[knee(costs)], "nearest to the best of every objective at once"
    gain = gain_over(baseline, experiment.objectives)
    return max(best, key=gain), "greatest mean gain over the baseline in all objectives"


def gain_over(baseline: Trial, objectives: Sequence[Objective]) -> Callable[[Trial], float]:
    """Return a function that gives a trial's mean gain over the baseline in all objectives.

    The gain in an objective is the logarithm of the ratio to the baseline, or the relative
    difference if either value is not positive.
    """

    def gain(trial: Trial) -> float:
        gains: list[float] = []
        for objective in objectives:
            own, base = trial.value(objective.metric), baseline.value(objective.metric)
            if own > 0 and base > 0:
                gains.append(objective.sign * float(np.log(base / own)))
            else:
                scale = max(abs(own), abs(base), 1e-12)
                gains.append(objective.sign * (base - own) / scale)
        return float(np.mean(gains))

    return gain


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialInputs:
    """The values of one measured trial that picks are computed from.

    Attributes:
        low: Lower ends of the values that decide ties, as costs, in the order of the objectives.
        high: Their upper ends.
        gain: Mean gain over the baseline in all objectives; None without a measured baseline.
        changes: Number of choices whose value differs from the baseline's.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    gain: float | None
    changes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PickInputs:
    """All that picks are computed from, for the report's page, which picks under other limits.

    Attributes:
        speed: Metric that defines the fastest trial; None if there is none.
        size: Metric that defines the smallest trial; None if there is none.
        quality: Metric that defines the trial of the highest quality; None if there is none.
        trials: The values of every measured trial, by number.
    """

    speed: Metric | None
    size: Metric | None
    quality: Metric | None
    trials: Mapping[int, TrialInputs]


def pick_inputs(experiment: Experiment, trials: Sequence[Trial]) -> PickInputs:
    """Return all that the picks of recorded trials are computed from, not rounded."""
    objectives, measured = experiment.objectives, [trial for trial in trials if trial.measured]
    speed, size, quality = deciding(experiment, trials)
    found: dict[int, TrialInputs] = {}
    if measured:
        _, low, high = spread_of(measured, objectives, experiment.primary)
        baseline = next((trial for trial in measured if trial.number == 0), None)
        gain = gain_over(baseline, objectives) if baseline is not None else None
        for row, trial in enumerate(measured):
            found[trial.number] = TrialInputs(
                low=tuple(map(float, low[row])),
                high=tuple(map(float, high[row])),
                gain=gain(trial) if gain is not None else None,
                changes=changes(experiment, trial),
            )
    return PickInputs(speed=speed, size=size, quality=quality, trials=found)


def ratio(trial: Trial, baseline: Trial, metric: Metric) -> float | None:
    """Return the improvement factor of a metric over the baseline; above 1 is better.

    None if either trial lacks the metric, or either value is not positive.
    """
    if not all(metric.name in found.measurements for found in (trial, baseline)):
        return None
    own, base = trial.value(metric.name), baseline.value(metric.name)
    if own <= 0 or base <= 0:
        return None
    return base / own if metric.direction == "minimize" else own / base
