"""The house's sampler as one of Optuna's, for anybody's study.

import optuna
from tunefront.search import FrontSampler
sampler = FrontSampler(runnable=lambda p: p["threads"] * p["replicas"] <= 8)
study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

Knows of a trial what Optuna keeps: parameters, values, constraints, state. What a trial costs, how
far its figures spread, and what is built already is known to `tunefront run` only.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunefront.evaluators import Measurement
from tunefront.search.experiment.objective import Limit, Objective
from tunefront.search.study.trial import Trial, TrialStatus
from tunefront.spaces import Choice, Configuration

from .ehvi import EhviSampler

Runnable = Callable[[Mapping[str, Any]], bool]

MOST_STEPS = 33
"""Values of a parameter that is listed by steps, at the most; of categories all count."""
MOST_COMBINATIONS = 20_000
"""Combinations that are listed; of more, so many at random."""


class FrontSampler(BaseSampler):
    """Expected hypervolume improvement over the list of combinations that can run.

    Any number of objectives. Constraints (`Trial.set_constraint`) are learnt, as is what fails. No
    combination is proposed twice while one is left. Numbers between steps are searched in steps.

    Args:
        space: The parameters, as `Study.ask` takes them; inferred from earlier trials where None,
            the first of which is drawn at random then.
        runnable: Whether a combination of parameters can run; all can where None.
        seed: Of the first design and of random parts.
    """

    def __init__(
        self,
        space: Mapping[str, BaseDistribution] | None = None,
        *,
        runnable: Runnable | None = None,
        seed: int | None = None,
    ) -> None:
        self._space = dict(space) if space is not None else None
        self._runnable = runnable
        self._seed = seed
        self._random = RandomSampler(seed=seed)
        self._known = IntersectionSearchSpace()
        self._lists: dict[str, _Listed] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Without its lock, which can't be sent anywhere."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With a lock of its own."""
        vars(self).update(state, _lock=threading.Lock())

    def reseed_rng(self) -> None:
        """Draw differently from here on: this is a copy in another worker."""
        self._seed = None
        self._random.reseed_rng()
        self._lists.clear()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What is given, or what all trials so far have had in common."""
        if self._space is not None:
            return dict(self._space)
        return self._known.calculate(study)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The combination that is expected to push the front most."""
        if not search_space:
            return {}
        with self._lock:
            key = f"{study.directions} {sorted(search_space.items())}"
            if key not in self._lists:
                self._lists[key] = _Listed(search_space, self._runnable, self._seed)
            others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
            return self._lists[key].proposed(study, others)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that not all trials have: at random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """One parameter's values in their order; a configuration holds the place."""

    values: tuple[Any, ...]
    ordered: bool
    log: bool = False

    @classmethod
    def of(cls, distribution: BaseDistribution) -> "_Axis":
        """The values that are searched."""
        if isinstance(distribution, CategoricalDistribution):
            return cls(values=distribution.choices, ordered=False)
        if isinstance(distribution, IntDistribution):
            count = (distribution.high - distribution.low) // distribution.step + 1
            spread = _spread(distribution, count)
            steps = np.rint((spread - distribution.low) / distribution.step).astype(int)
            steps = np.unique(np.clip(steps, 0, count - 1))
            numbers = tuple(int(distribution.low + distribution.step * step) for step in steps)
            return cls(values=numbers, ordered=True, log=distribution.log)
        assert isinstance(distribution, FloatDistribution)
        if distribution.step is None:
            spread = np.unique(np.clip(_spread(distribution), distribution.low, distribution.high))
            return cls(values=tuple(map(float, spread)), ordered=True, log=distribution.log)
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        steps = np.unique(np.rint(np.linspace(0, count - 1, min(count, MOST_STEPS))))
        stepped = tuple(
            min(distribution.low + distribution.step * step, distribution.high) for step in steps
        )
        return cls(values=tuple(map(float, stepped)), ordered=True)

    def place(self, value: Any) -> int:
        """Where a value is, or the nearest one."""
        if not self.ordered:
            return self.values.index(value)
        numbers = np.array(self.values, dtype=np.float64)
        away = np.log(numbers / value) if self.log else numbers - value
        return int(np.abs(away).argmin())


def _spread(distribution: IntDistribution | FloatDistribution, count: int = MOST_STEPS) -> Any:
    ends, number = (distribution.low, distribution.high), min(count, MOST_STEPS)
    return np.geomspace(*ends, number) if distribution.log else np.linspace(*ends, number)


class _Listed:
    """A space as the list of its combinations, and the sampler over it."""

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        runnable: Runnable | None,
        seed: int | None,
    ) -> None:
        self._axes = {name: _Axis.of(distribution) for name, distribution in space.items()}
        self._seed = int(np.random.default_rng(seed).integers(2**31))
        self._random = np.random.default_rng(self._seed)
        listed = [self._configuration(places) for places in self._places()]
        self._rows = [c for c in listed if runnable is None or runnable(self._parameters(c))]
        if not self._rows:
            raise ValueError(
                f"runnable must hold for some combination of {', '.join(space)}, but it does for "
                f"none of {len(listed)}; see what it says of {self._parameters(listed[0])}"
            )
        self._sampler: EhviSampler | None = None
        self._limits: tuple[str, ...] = ()

    def proposed(self, study: optuna.Study, others: Sequence[FrozenTrial]) -> dict[str, Any]:
        """What to try next; any of the list once all of it was tried."""
        objectives = _objectives(study)
        limits = _constraints(others)
        if self._sampler is None or limits != self._limits:
            self._limits = limits
            self._sampler = self._made(objectives)
        known = [self._trial(trial, objectives) for trial in others if self._holds(trial)]
        row = self._sampler.propose(known)
        return self._parameters(row or self._rows[int(self._random.integers(len(self._rows)))])

    def _made(self, objectives: Sequence[Objective]) -> EhviSampler:
        choices = [
            Choice(
                name=name,
                values=tuple(range(len(axis.values))),
                stage="model",
                default=0,
                ordered=axis.ordered,
            )
            for name, axis in self._axes.items()
        ]
        limits = [Limit(metric=name, test="<=", bound=0.0) for name in self._limits]
        return EhviSampler(choices, self._rows, objectives, limits, self._seed)

    def _places(self) -> Sequence[tuple[int, ...]]:
        """All combinations, or so many of them at random."""
        counts = [len(axis.values) for axis in self._axes.values()]
        if math.prod(counts) <= MOST_COMBINATIONS:
            return list(product(*map(range, counts)))
        drawn = self._random.integers(0, counts, size=(MOST_COMBINATIONS, len(counts)))
        return [tuple(map(int, places)) for places in np.unique(drawn, axis=0)]

    def _configuration(self, places: Sequence[int]) -> Configuration:
        return Configuration(dict(zip(self._axes, places, strict=True)))

    def _parameters(self, configuration: Configuration) -> dict[str, Any]:
        return {name: axis.values[int(configuration[name])] for name, axis in self._axes.items()}

    def _holds(self, trial: FrozenTrial) -> bool:
        """Whether a trial has all parameters, and no category that is not searched."""
        return all(
            name in trial.params and (axis.ordered or trial.params[name] in axis.values)
            for name, axis in self._axes.items()
        )

    def _trial(self, trial: FrozenTrial, objectives: Sequence[Objective]) -> Trial:
        places = [axis.place(trial.params[name]) for name, axis in self._axes.items()]
        figures = dict(zip((o.metric for o in objectives), trial.values or (), strict=False))
        figures |= {name: trial.constraints[name] for name in self._limits if figures}
        return Trial(
            number=trial.number,
            configuration=self._configuration(places),
            status=_status(trial),
            measurements={n: Measurement.exact(v, "") for n, v in figures.items()},
        )


def _objectives(study: optuna.Study) -> list[Objective]:
    return [
        Objective(
            metric=f"value {place}",
            direction="minimize" if direction == StudyDirection.MINIMIZE else "maximize",
        )
        for place, direction in enumerate(study.directions)
    ]


def _constraints(trials: Sequence[FrozenTrial]) -> tuple[str, ...]:
    """The constraints that all trials with values have."""
    named = [set(t.constraints) for t in trials if t.state == TrialState.COMPLETE]
    return tuple(sorted(set.intersection(*named))) if named else ()


def _status(trial: FrozenTrial) -> TrialStatus:
    if trial.state != TrialState.COMPLETE:
        return "failed" if trial.state.is_finished() else "running"
    if not all(map(math.isfinite, trial.values)):
        return "failed"
    return "infeasible" if any(value > 0 for value in trial.constraints.values()) else "ok"
