"""Picks: one trial chosen from the front, and why; answered from the record, with any limits."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tunefront.evaluators import Measurement, Metric
from tunefront.search.experiment.experiment import Experiment
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.trial import Trial
from tunefront.search.text import listed
from tunefront.spaces import ExperimentError, did_you_mean

from .pareto import Costs, chances, indistinguishable, knee, nondominated

RECOMMENDED = "recommended"
NAMES = (RECOMMENDED, "fastest", "smallest", "highest quality", "knee")
"""The picks."""
SAME_QUALITY = 5e-4
"""Relative differences of quality below this are none: they are told as "the same quality"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A trial with a name and a reason.

    Attributes:
        name: `recommended`, `fastest`, `smallest`, `highest quality` or `knee`.
        trial: The trial.
        reason: Why this one, in words.
        ties: Trials that can't be told apart from it.
    """

    name: str
    trial: Trial
    reason: str
    ties: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What nothing else beats, among the trials within limits.

    Attributes:
        trials: The front, the best of the first objective first.
        ties: For a trial's number, the trials that can't be told apart from it.
        chances: For a trial's number, the probability that it is on the front, given the spread of
            all figures.
        picks: The named picks, the recommended one first; empty where nothing keeps the limits.
    """

    trials: tuple[Trial, ...]
    ties: Mapping[int, tuple[Trial, ...]]
    picks: tuple[Pick, ...]
    chances: Mapping[int, float] = field(default_factory=dict)

    @property
    def recommended(self) -> Trial | None:
        """The recommended trial."""
        return self.picks[0].trial if self.picks else None


def front_of(
    experiment: Experiment,
    trials: Sequence[Trial],
    limits: Sequence[Limit] | None = None,
    prefer: str | None = None,
) -> Front:
    """The front and its picks.

    Args:
        experiment: Objectives, limits, metrics.
        trials: The record; what failed is left out.
        limits: Limits instead of the experiment's.
        prefer: A metric that decides the recommendation alone; the experiment's where None.
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
    seen = zip(kept, chances(*spread), strict=True)
    return Front(
        trials=tuple(best),
        ties=ties,
        picks=picks,
        chances={trial.number: float(chance) for trial, chance in seen},
    )


def within(trials: Sequence[Trial], limits: Sequence[Limit]) -> list[Trial]:
    """The measured trials that keep all limits; one without a limited figure does not."""
    return [
        trial
        for trial in trials
        if trial.measured and all(_keeps(trial, limit) for limit in limits)
    ]


def _keeps(trial: Trial, limit: Limit) -> bool:
    return limit.metric in trial.measurements and limit.kept(trial.value(limit.metric))


def nearest_misses(trials: Sequence[Trial], limits: Sequence[Limit], count: int = 3) -> list[Trial]:
    """The measured trials that come nearest to the limits, by the worst relative violation."""

    def distance(trial: Trial) -> float:
        return max(
            limit.violation(trial.value(limit.metric)) / max(abs(limit.bound), 1e-9)
            if limit.metric in trial.measurements
            else math.inf
            for limit in limits
        )

    return sorted((trial for trial in trials if trial.measured), key=distance)[:count]


def _for_telling_apart(trial: Trial, objective: Objective, primary: Metric) -> Measurement:
    """A figure with the interval that matters beside others: of quality the one on same items."""
    drop = trial.measurements.get("quality_drop")
    if objective.metric == primary.name and drop is not None:
        return drop
    return trial.measurements[objective.metric]


def spread_of(
    trials: Sequence[Trial], objectives: Sequence[Objective], primary: Metric
) -> tuple[Costs, Costs, Costs]:
    """Figures and both ends of their intervals, less is better, `(trials, objectives)` each."""
    rows = [[_for_telling_apart(t, o, primary) for o in objectives] for t in trials]
    # The drop is a loss, whatever the direction of the metric that it is about.
    signs = np.array(
        [
            [1.0 if m.unit == "%" else o.sign for m, o in zip(r, objectives, strict=True)]
            for r in rows
        ]
    )
    middle = signs * np.array([[m.value for m in row] for row in rows])
    ends = [signs * np.array([[getattr(m, e) for m in r] for r in rows]) for e in ("low", "high")]
    return middle, np.minimum(*ends), np.maximum(*ends)


class Ties(Mapping[int, tuple[Trial, ...]]):
    """For a trial's number, the trials that can't be told apart from it; found when asked for.

    Args:
        trials: Those that are compared.
        spread: Their figures and both ends of their intervals.
    """

    def __init__(self, trials: Sequence[Trial], spread: tuple[Costs, Costs, Costs]) -> None:
        self._trials = trials
        self._spread = spread
        self._places = {trial.number: place for place, trial in enumerate(trials)}

    def __getitem__(self, number: int) -> tuple[Trial, ...]:
        """The others; KeyError where the trial is not compared."""
        place, (_, low, high) = self._places[number], self._spread
        same = np.flatnonzero(indistinguishable(low, high, place))
        return tuple(self._trials[int(other)] for other in same if other != place)

    def __iter__(self) -> Iterator[int]:
        """The numbers, in the order of the trials."""
        return iter(self._places)

    def __len__(self) -> int:
        """How many are compared."""
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
            reason += ", or as good as that, and the simplest"
        unsure = [str(lim) for lim in limits if not lim.certain(chosen.measurements[lim.metric])]
        if unsure:
            reason += f"; keeps {' and '.join(unsure)} by its estimate, not at 95 %"
        found.append(Pick(name=name, trial=chosen, reason=reason, ties=ties[chosen.number]))

    trial, reason = _recommended(experiment, best, baseline, prefer)
    add(RECOMMENDED, trial, reason)
    first = found[0].trial
    if speed is not None:
        fastest, alike = _best_as_told(best, speed, first, size, "the smallest")
        add("fastest", fastest, f"best {speed.name} on the front{alike}")
    if size is not None:
        smallest, alike = _best_as_told(best, size, first, speed, "the fastest")
        add("smallest", smallest, f"least {size.name} on the front{alike}")
    if quality is not None:
        best_quality = _best_quality(best, quality, first, speed)
        add("highest quality", best_quality, f"best {quality.name} on the front")
    costs = np.array([[t.cost(o) for o in experiment.objectives] for t in best])
    add("knee", best[knee(costs)], "nearest to the best of every objective at once")
    return tuple(found)


def simplest(experiment: Experiment, trials: Sequence[Trial], size: Metric | None) -> Trial:
    """The trial with the fewest choices that differ from the baseline's; of those the smallest.

    Args:
        experiment: Its baseline.
        trials: To choose from; of equal ones the first is taken.
        size: What says which is smallest; None where nothing does.
    """

    def key(trial: Trial) -> tuple[int, float]:
        return changes(experiment, trial), 0.0 if size is None else trial.value(size.name)

    return min(trials, key=key)


def changes(experiment: Experiment, trial: Trial) -> int:
    """How many of its choices differ from the baseline's."""
    own, base = trial.configuration, experiment.baseline
    return sum(own[name] != base.get(name) for name in own)


def deciding(
    experiment: Experiment, trials: Sequence[Trial]
) -> tuple[Metric | None, Metric | None, Metric | None]:
    """The metrics that say what is fastest, what is smallest, and what has the highest quality.

    None where not all measured trials have such a figure: a training has no throughput, a model
    behind a remote server no memory.
    """
    measured = [trial.measurements for trial in trials if trial.measured]
    known = {name: m for name, m in experiment.metrics.items() if all(name in f for f in measured)}
    speed = _first(experiment, ("latency_ms", "throughput", "tokens_per_second"), "throughput")
    size = _first(experiment, ("peak_memory_mb", "model_memory_mb", "weights_mb"), "peak_memory_mb")
    return known.get(speed), known.get(size), known.get(experiment.primary.name)


def _first(experiment: Experiment, names: Sequence[str], fallback: str) -> str:
    """The first objective among `names`, or the fallback."""
    objectives = {objective.metric for objective in experiment.objectives}
    return next((name for name in names if name in objectives), fallback)


def _best_by(trials: Sequence[Trial], metric: Metric) -> Trial:
    sign = 1.0 if metric.direction == "minimize" else -1.0
    return min(trials, key=lambda trial: sign * trial.value(metric.name))


def _best_as_told(
    trials: Sequence[Trial], metric: Metric, recommended: Trial, other: Metric | None, word: str
) -> tuple[Trial, str]:
    """The best by a metric, and in words what can't be told apart from it by that metric.

    Args:
        trials: To choose from.
        metric: What is best.
        recommended: Named where it is among the equals.
        other: The metric that decides among them otherwise; None where there is none.
        word: What is best by that.
    """
    figures = [trial.measurements[metric.name] for trial in trials]
    low, high = (np.array([[getattr(f, end)] for f in figures]) for end in ("low", "high"))
    top = trials.index(_best_by(trials, metric))
    equal = [trials[int(i)] for i in np.flatnonzero(indistinguishable(low, high, top))]
    best = trials[top] if other is None else _best_by(equal, other)
    chosen = recommended if recommended in equal else best
    if len(equal) == 1:
        return chosen, ""
    others = listed([trial.number for trial in equal if trial is not chosen])
    if chosen is not recommended and other is None:
        return chosen, f" (by that can't be told apart from {others})"
    role = "the recommended" if chosen is recommended else word
    return chosen, f" (by that can't be told apart from {others}; {role} of them)"


def _best_quality(
    trials: Sequence[Trial], quality: Metric, recommended: Trial, speed: Metric | None
) -> Trial:
    """The best by quality; of those that are as good as it, the recommended or the fastest one."""
    best = _best_by(trials, quality)
    top = best.value(quality.name)
    equal = [t for t in trials if abs(t.value(quality.name) - top) <= SAME_QUALITY * abs(top)]
    if recommended in equal:
        return recommended
    return best if speed is None else _best_by(equal, speed)


def _recommended(
    experiment: Experiment, best: Sequence[Trial], baseline: Trial | None, prefer: str | None
) -> tuple[Trial, str]:
    """The preferred metric's best, or the greatest gain over the baseline in all objectives."""
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
    """Mean logarithm of the ratios to the baseline; differences where a figure isn't positive."""

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


def ratio(trial: Trial, baseline: Trial, metric: Metric) -> float | None:
    """How many times better a figure is than the baseline's; None where it means nothing.

    It means nothing where either has no such figure, or one that is not positive.
    """
    if not all(metric.name in found.measurements for found in (trial, baseline)):
        return None
    own, base = trial.value(metric.name), baseline.value(metric.name)
    if own <= 0 or base <= 0:
        return None
    return base / own if metric.direction == "minimize" else own / base
