"""Tunefront's EHVI sampler as an Optuna sampler, for any Optuna study.

import optuna
from tunefront.search import FrontSampler
sampler = FrontSampler(runnable=lambda p: p["threads"] * p["replicas"] <= 8)
study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

It uses what Optuna stores of a trial: parameters, values, constraints and state. Trial durations,
measurement intervals and already built candidates are available in `tunefront run` only.
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
from tunefront.spaces import Catalog, Choice, Configuration

from .ehvi import EhviSampler

Runnable = Callable[[Mapping[str, Any]], bool]

MOST_STEPS = 33
"""Largest number of values of a numeric parameter; categorical parameters keep all values."""
MOST_COMBINATIONS = 20_000
"""Largest number of combinations in the list; of a larger space this many are drawn at random."""


class FrontSampler(BaseSampler):
    """Optuna sampler by expected hypervolume improvement over a list of runnable combinations.

    Supports any number of objectives. The improvement is exact, except for fronts that would take
    more than about half a second of one core (roughly 100 points and 4,000 untried combinations at
    7 objectives): there the hypervolume is approximated by 512 to 16,384 samples. Constraints
    (`Trial.set_constraint`) and failures are modelled. No combination is proposed twice while an
    untried one is left. Numeric parameters are discretised to at most 33 values.

    Args:
        space: Distributions by parameter, as `Study.ask` takes them. If None, they are inferred
            from earlier trials, and the first trial is drawn at random.
        runnable: Function that returns whether a combination can run; None if all can.
        seed: Seed of the initial design and of random subsets.
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
        self._lists: dict[str, _ListedSpace] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the lock, which cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state with a new lock."""
        vars(self).update(state, _lock=threading.Lock())

    def reseed_rng(self) -> None:
        """Reseed at random; Optuna calls this for copies in parallel workers."""
        self._seed = None
        self._random.reseed_rng()
        self._lists.clear()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the given space, or the parameters that all trials so far have in common."""
        if self._space is not None:
            return dict(self._space)
        return self._known.calculate(study)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the combination with the largest acquisition value."""
        if not search_space:
            return {}
        with self._lock:
            key = f"{study.directions} {sorted(search_space.items())}"
            if key not in self._lists:
                self._lists[key] = _ListedSpace(search_space, self._runnable, self._seed)
            others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
            return self._lists[key].next_parameters(study, others)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that not all trials have at random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """The values of one parameter; a configuration stores an index into them."""

    values: tuple[Any, ...]
    ordered: bool
    log: bool = False

    @classmethod
    def of(cls, distribution: BaseDistribution) -> "_Axis":
        """Return the searched values of a distribution."""
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
        """Return the index of a value, or of the nearest number."""
        if not self.ordered:
            return self.values.index(value)
        numbers = np.array(self.values, dtype=np.float64)
        away = np.log(numbers / value) if self.log else numbers - value
        return int(np.abs(away).argmin())


def _spread(distribution: IntDistribution | FloatDistribution, count: int = MOST_STEPS) -> Any:
    ends, number = (distribution.low, distribution.high), min(count, MOST_STEPS)
    return np.geomspace(*ends, number) if distribution.log else np.linspace(*ends, number)


class _ListedSpace:
    """A space as the list of its runnable combinations, with a sampler over it.

    Raises:
        ValueError: If no listed combination can run.
    """

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
                f"none of {len(listed)}; see its result for {self._parameters(listed[0])}"
            )
        self._sampler: EhviSampler | None = None
        self._limits: tuple[str, ...] = ()

    def next_parameters(self, study: optuna.Study, others: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Return the next parameters; a random combination once all were tried."""
        objectives = _objectives(study)
        limits = _constraints(others)
        if self._sampler is None or limits != self._limits:
            self._limits = limits
            self._sampler = self._build_sampler(objectives)
        known = [
            self._trial(trial, objectives) for trial in others if self._has_known_values(trial)
        ]
        proposal = self._sampler.propose(known)
        if proposal is not None:
            return self._parameters(proposal.configuration)
        return self._parameters(self._rows[int(self._random.integers(len(self._rows)))])

    def _build_sampler(self, objectives: Sequence[Objective]) -> EhviSampler:
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
        """Return all combinations of indices, or `MOST_COMBINATIONS` random ones."""
        counts = [len(axis.values) for axis in self._axes.values()]
        if math.prod(counts) <= MOST_COMBINATIONS:
            return list(product(*map(range, counts)))
        drawn = self._random.integers(0, counts, size=(MOST_COMBINATIONS, len(counts)))
        return [tuple(map(int, places)) for places in np.unique(drawn, axis=0)]

    def _configuration(self, places: Sequence[int]) -> Configuration:
        return Configuration(dict(zip(self._axes, places, strict=True)))

    def _parameters(self, configuration: Configuration) -> dict[str, Any]:
        return {name: axis.values[int(configuration[name])] for name, axis in self._axes.items()}

    def _has_known_values(self, trial: FrozenTrial) -> bool:
        """Return whether a trial has all parameters and only known categories."""
        return all(
            name in trial.params and (axis.ordered or trial.params[name] in axis.values)
            for name, axis in self._axes.items()
        )

    def _trial(self, trial: FrozenTrial, objectives: Sequence[Objective]) -> Trial:
        places = [axis.place(trial.params[name]) for name, axis in self._axes.items()]
        measurements = dict(zip((o.metric for o in objectives), trial.values or (), strict=False))
        measurements |= {name: trial.constraints[name] for name in self._limits if measurements}
        return Trial(
            number=trial.number,
            configuration=self._configuration(places),
            catalog=Catalog(()),
            status=_status(trial),
            measurements={n: Measurement.exact(v, "") for n, v in measurements.items()},
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
    """Return the names of the constraints that all completed trials have."""
    named = [set(t.constraints) for t in trials if t.state == TrialState.COMPLETE]
    return tuple(sorted(set.intersection(*named))) if named else ()


def _status(trial: FrozenTrial) -> TrialStatus:
    if trial.state != TrialState.COMPLETE:
        return "failed" if trial.state.is_finished() else "running"
    if not all(map(math.isfinite, trial.values)):
        return "failed"
    return "infeasible" if any(value > 0 for value in trial.constraints.values()) else "ok"
