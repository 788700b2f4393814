"""Which choices matter for an objective, and how far that can be believed.

The surrogate's process learns four fifths of the trials and predicts the others, five times. How
well it does is R²; how much worse it does where a choice's values are drawn anew is what hangs on
that choice. Half of that over the variance is the choice's total effect, alone and together with
others (Jansen 1999; for a model that predicts perfectly).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tunefront.evaluators.statistics.arrays import Floats, Indices
from tunefront.search.experiment.objective import Objective
from tunefront.search.sampling.surrogate.encoding import Features, encode
from tunefront.search.sampling.surrogate.gaussian_process import Process, fit
from tunefront.search.sampling.surrogate.targets import learnable
from tunefront.search.study.trial import Trial
from tunefront.spaces import Choice

LEAST_EXPLAINED_TRIALS = 12
"""Fewer measured trials say nothing about choices."""
BELIEVED = 0.5
"""R² below which a model that predicts so badly is not asked what matters."""
SAME_VALUE = 1e-9
"""Figures nearer than this, as a share of them, are one figure."""
FOLDS = 5
DRAWS = 5
"""How often a choice's values are drawn anew."""
MOST_EXPLAINED_TRIALS = 300
"""Of more, a random part is looked at."""
EXPLAINED_FROM = 120
"""Trials that a process' parameters are learnt from, at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """What an objective hangs on.

    Attributes:
        objective: The metric.
        trials: How many trials were looked at.
        r2: Share of the variance that is predicted for trials that were not seen; None where
            there is too little to learn from.
        shares: Of the variance, by choice, the greatest first; empty where `r2` is too low.
        same: Whether all figures are one, so that nothing hangs on anything.
    """

    objective: str
    trials: int
    r2: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    same: bool = False

    def __str__(self) -> str:
        """What can be said about it, in words."""
        if self.same:
            return f"the same in all {self.trials} measured trials: no choice moves it"
        if self.r2 is None:
            return f"can't be told from {self.trials} measured trials"
        by = f"R² {self.r2:.2f} on trials that the model had not seen"
        if not self.shares:
            return f"can't be told: {by}, at least {BELIEVED:g} is needed"
        return f"{by}, {'good' if self.r2 >= 0.8 else 'a rough guide'}; {self.trials} trials"


def importance_of(
    trials: Sequence[Trial], choices: Sequence[Choice], objective: Objective, seed: int = 0
) -> Importance:
    """What an objective hangs on, after the measured ones of these trials."""
    random = np.random.default_rng(seed)
    measured = [trial for trial in trials if trial.measured]
    if len(measured) > MOST_EXPLAINED_TRIALS:
        some = np.sort(random.choice(len(measured), MOST_EXPLAINED_TRIALS, replace=False))
        measured = [measured[int(row)] for row in some]
    varied = [c for c in choices if len({t.configuration.get(c.name) for t in measured}) > 1]
    found = Importance(objective=objective.metric, trials=len(measured))
    if len(measured) < LEAST_EXPLAINED_TRIALS or not varied:
        return found
    features = encode([trial.configuration for trial in measured], varied)
    figures, _, _ = learnable(measured, objective.metric, objective.sign)
    if float(np.ptp(figures)) <= SAME_VALUE * float(np.abs(figures).max()):
        return replace(found, same=True)
    missed, missed_without = _misses(features, figures, random)
    r2 = 1.0 - missed
    effects = np.clip((missed_without - missed) / 2, 0.0, 1.0)
    named = [(choice.name, float(share)) for choice, share in zip(varied, effects, strict=True)]
    named.sort(key=lambda pair: -pair[1])
    return Importance(
        objective=objective.metric,
        trials=len(measured),
        r2=r2,
        shares=dict(named) if r2 >= BELIEVED else {},
    )


def _misses(
    features: Features, figures: Floats, random: np.random.Generator
) -> tuple[float, Floats]:
    """Mean square errors over the variance: as predicted, and with each choice drawn anew."""
    count, choices = features.places.shape
    missed = 0.0
    missed_without = np.zeros(choices)
    order = random.permutation(count)
    for asked in np.array_split(order, FOLDS):
        known = np.setdiff1d(order, asked)
        process = _learnt(features, figures, known, random)
        distances = features.distances(known, asked)
        truth = figures[asked]
        missed += float(np.square(truth - process.predict(distances)[0]).sum())
        for choice in range(choices):
            for _ in range(DRAWS):
                drawn = random.choice(count, size=len(asked))
                changed = distances.copy()
                places = features.places[known, choice], features.places[drawn, choice]
                changed[choice] = features.tables[choice][np.ix_(*places)]
                off = np.square(truth - process.predict(changed)[0]).sum()
                missed_without[choice] += float(off) / DRAWS
    whole = float(np.square(figures - figures.mean()).sum())
    return missed / whole, missed_without / whole


def _learnt(
    features: Features, figures: Floats, known: Indices, random: np.random.Generator
) -> Process:
    """A process that has seen the `known` rows.

    How noisy figures are it learns by itself: intervals of quality hold the items' own spread,
    which all trials share.
    """
    noise = np.zeros(len(figures))
    few = len(known) <= EXPLAINED_FROM
    some = known if few else random.choice(known, EXPLAINED_FROM, replace=False)
    process = fit(features.distances(some, some), figures[some], noise[some])
    if few:
        return process
    between = features.distances(known, known)
    return fit(between, figures[known], noise[known], process.parameters, learn=False)
