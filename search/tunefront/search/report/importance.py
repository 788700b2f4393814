"""Permutation importance of the choices for an objective, and how reliable it is.

The surrogate's Gaussian process is fitted to four fifths of the trials and predicts the others, in
five-fold cross-validation; R² is the quality of these predictions. The importance of a choice is
half the increase of the mean squared error when its values are resampled, divided by the variance:
its total effect, including interactions (Jansen 1999; exact for a model that predicts perfectly).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from tunefront.evaluators.statistics.arrays import Floats, Indices
from tunefront.evaluators.statistics.formatting import number_text
from tunefront.search.experiment.objective import Objective
from tunefront.search.sampling.surrogate.encoding import Features, encode
from tunefront.search.sampling.surrogate.gaussian_process import GaussianProcess, fit
from tunefront.search.sampling.surrogate.targets import learnable
from tunefront.search.study.trial import Trial
from tunefront.spaces import Choice

LEAST_EXPLAINED_TRIALS = 12
"""Minimum number of measured trials for which importance is computed."""
BELIEVED = 0.5
"""Minimum R² for which importance is reported."""
SAME_VALUE = 1e-9
"""Range of an objective, relative to its largest magnitude, up to which all values are equal."""
FOLDS = 5
DRAWS = 5
"""Number of times a choice's values are resampled per fold."""
MOST_EXPLAINED_TRIALS = 300
"""Maximum number of trials used; above it, a random subset."""
EXPLAINED_FROM = 120
"""Maximum number of trials to which the Gaussian process' hyperparameters are fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """The importance of choices for one objective.

    Attributes:
        objective: The metric.
        trials: Number of trials used.
        r2: Cross-validated R², the share of the variance predicted for held-out trials; None if
            there are too few trials, no choice varies, or all values are equal.
        shares: Total effect by choice as a share of the variance, largest first; empty if `r2` is
            too low.
        same: Whether all values are equal, so that no choice has an effect.
    """

    objective: str
    trials: int
    r2: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    same: bool = False

    def __str__(self) -> str:
        """Describe how reliable the importance is, or why there is none."""
        if self.same:
            return f"the same in all {self.trials} measured trials: no choice moves it"
        if self.r2 is None:
            return f"not estimated from {self.trials} measured trials"
        by = f"R² {number_text(self.r2, decimals=2)} on trials that the model had not seen"
        if not self.shares:
            return f"not estimated: {by}, at least {BELIEVED:g} is needed"
        return f"{by}, {'good' if self.r2 >= 0.8 else 'a rough guide'}; {self.trials} trials"


def importance_of(
    trials: Sequence[Trial], choices: Sequence[Choice], objective: Objective, seed: int = 0
) -> Importance:
    """Compute the importance of the choices for an objective from the measured trials.

    Args:
        trials: All recorded trials.
        choices: The choices of the space.
        objective: The objective.
        seed: Seed of the folds and of the resampling.
    """
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
    values, _, _ = learnable(measured, objective)
    if float(np.ptp(values)) <= SAME_VALUE * float(np.abs(values).max()):
        return replace(found, same=True)
    with threadpool_limits(1, user_api="blas"):  # threads only cost, with matrices this small
        missed, missed_without = _misses(features, values, random)
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
    features: Features, values: Floats, random: np.random.Generator
) -> tuple[float, Floats]:
    """Return the cross-validated mean squared error / variance: as is, and per resampled choice.

    The second has shape `(choices,)`.
    """
    count, choices = features.codes.shape
    missed = 0.0
    missed_without = np.zeros(choices)
    order = random.permutation(count)
    for held_out in np.array_split(order, FOLDS):
        known = np.setdiff1d(order, held_out)
        model = _learnt(features, values, known, random)
        distances = features.distances(known, held_out)
        truth = values[held_out]
        missed += float(np.square(truth - model.predict(distances)[0]).sum())
        for choice in range(choices):
            for _ in range(DRAWS):
                drawn = random.choice(count, size=len(held_out))
                changed = distances.copy()
                places = features.codes[known, choice], features.codes[drawn, choice]
                changed[choice] = features.tables[choice][np.ix_(*places)]
                off = np.square(truth - model.predict(changed)[0]).sum()
                missed_without[choice] += float(off) / DRAWS
    whole = float(np.square(values - values.mean()).sum())
    return missed / whole, missed_without / whole


def _learnt(
    features: Features, values: Floats, known: Indices, random: np.random.Generator
) -> GaussianProcess:
    """Fit a Gaussian process to the `known` rows.

    The noise level is a hyperparameter, not taken from measured intervals: the intervals of quality
    include the spread between items, which is shared by all trials.
    """
    noise = np.zeros(len(values))
    few = len(known) <= EXPLAINED_FROM
    some = known if few else random.choice(known, EXPLAINED_FROM, replace=False)
    model = fit(features.distances(some, some), values[some], noise[some])
    if few:
        return model
    between = features.distances(known, known)
    return fit(between, values[known], noise[known], model.parameters, learn=False)
