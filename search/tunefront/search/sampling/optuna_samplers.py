"""Optuna's samplers over a list of runnable configurations, without repeats.

Each sampler runs in a separate in-memory study that is filled from the record, so rejected
proposals never reach the record. After `MOST_REJECTIONS` rejected proposals the untried
configuration nearest to the last one is taken.
"""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.trial import Trial
from tunefront.spaces import Configuration, SearchSpace, Value

from .base import Proposal, Sampler, untried

if TYPE_CHECKING:
    import optuna

OPTUNA_STARTUP_TRIALS = 10
MOST_REJECTIONS = 16


def _tpe(seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=OPTUNA_STARTUP_TRIALS,
        )


def _nsga2(seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    return optuna.samplers.NSGAIISampler(seed=seed, population_size=16)


def _gp(seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=OPTUNA_STARTUP_TRIALS)


def _random(seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


OPTUNA_SAMPLERS: Mapping[str, "Callable[[int], optuna.samplers.BaseSampler]"] = MappingProxyType(
    {"tpe": _tpe, "nsga2": _nsga2, "gp": _gp, "random": _random}
)


class OptunaSampler(Sampler):
    """An Optuna sampler restricted to runnable, untried configurations.

    Args:
        space: The choices and their conditions.
        runnable: The configurations that can run.
        objectives: The objectives.
        limits: The limits that a trial must keep.
        sampler: The Optuna sampler.
    """

    def __init__(
        self,
        space: SearchSpace,
        runnable: Sequence[Configuration],
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        sampler: "optuna.samplers.BaseSampler",
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._runnable = runnable
        self._objectives = objectives
        self._limits = limits
        self._study = optuna.create_study(
            directions=[objective.direction for objective in objectives], sampler=sampler
        )
        self._pending: dict[Configuration, optuna.Trial] = {}
        self._known: set[int] = set()

    def propose(
        self, trials: Sequence[Trial], excluded: Collection[Configuration] = ()
    ) -> Proposal | None:
        """Return a new configuration, or the untried one nearest to the last rejected proposal.

        Optuna gives no reasons, so the reason names the Optuna sampler.
        """
        self._record(trials)
        left = dict.fromkeys(untried(self._runnable, trials, excluded))
        if not left:
            return None
        reason = f"proposed by Optuna's {type(self._study.sampler).__name__}"
        return Proposal(configuration=self._next(left), reason=reason)

    def _next(self, left: Collection[Configuration]) -> Configuration:
        """Return one of the untried configurations `left`."""
        suggested = None
        for _ in range(MOST_REJECTIONS):
            optuna_trial = self._study.ask()
            suggested = self._suggest(optuna_trial)
            if suggested in left:
                self._pending[suggested] = optuna_trial
                return suggested
            self._fail(optuna_trial)
        assert suggested is not None
        return min(left, key=lambda other: _distance(suggested, other))

    def _suggest(self, optuna_trial: "optuna.Trial") -> Configuration:
        values = self._space.defaults()
        active: dict[str, Value] = {}
        for choice in self._space.choices:
            if choice.active(values):
                chosen = optuna_trial.suggest_categorical(choice.name, list(choice.values))
                values[choice.name] = active[choice.name] = cast(Value, chosen)
        return Configuration(active)

    def _fail(self, optuna_trial: "optuna.Trial") -> None:
        import optuna

        self._study.tell(optuna_trial, state=optuna.trial.TrialState.FAIL)

    def _record(self, trials: Sequence[Trial]) -> None:
        """Report newly ended trials to Optuna; add measured ones that it did not propose."""
        for trial in trials:
            if trial.status == "running" or trial.number in self._known:
                continue
            self._known.add(trial.number)
            optuna_trial = self._pending.pop(trial.configuration, None)
            if optuna_trial is not None:
                self._tell(optuna_trial, trial)
            elif trial.measured:
                self._add(trial)

    def _tell(self, optuna_trial: "optuna.Trial", trial: Trial) -> None:
        if not trial.measured:
            self._fail(optuna_trial)
            return
        for limit in self._limits:
            optuna_trial.set_constraint(str(limit), limit.violation(trial.value(limit.metric)))
        self._study.tell(optuna_trial, [trial.value(o.metric) for o in self._objectives])

    def _add(self, trial: Trial) -> None:
        """Add an earlier trial with the same suggest calls, so that its distributions agree.

        A trial with a value outside the space is marked as failed in the in-memory study.
        """
        self._study.enqueue_trial(dict(trial.configuration))
        optuna_trial = self._study.ask()
        inside = all(
            choice.name not in trial.configuration
            or trial.configuration[choice.name] in choice.values
            for choice in self._space.choices
        )
        if not inside:
            self._fail(optuna_trial)
            return
        self._suggest(optuna_trial)
        self._tell(optuna_trial, trial)


def _distance(one: Configuration, other: Configuration) -> int:
    """Return the number of choices in which two configurations differ."""
    return sum(one.get(name) != other.get(name) for name in {*one, *other})
