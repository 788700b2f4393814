"""Our sampler in Optuna's own conformance suite, and what it does beyond it."""

import pickle
import re
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from tunefront.search import FrontSampler
from tunefront.search.front.pareto import hypervolume

SPACE: dict[str, BaseDistribution] = {
    "threads": IntDistribution(1, 8),
    "kind": CategoricalDistribution(["a", "b", None]),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Optuna's suite warns of what it asks for."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    optuna.logging.set_verbosity(before)


class TestConformance(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Optuna's own suite."""

    @pytest.fixture
    def sampler(self) -> Callable[[], optuna.samplers.BaseSampler]:
        return FrontSampler


def objective(trial: optuna.Trial) -> tuple[float, float]:
    threads = trial.suggest_int("threads", 1, 8)
    kind = trial.suggest_categorical("kind", ["a", "b", None])
    share = trial.suggest_float("share", 0.0, 1.0, step=0.25)
    cost = {"a": 1.0, "b": 2.0}.get(str(kind), 0.5)
    return threads * (1.5 - share) * cost, threads + 4 * cost


def search(sampler: optuna.samplers.BaseSampler, trials: int) -> optuna.Study:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=trials, catch=())
    return study


def covered(study: optuna.Study) -> float:
    values = np.array([t.values for t in study.trials if t.state.name == "COMPLETE"])
    return hypervolume(values * [-1.0, 1.0], np.array([0.0, 20.0]))


@pytest.mark.parametrize("space", [SPACE, None], ids=["given", "inferred"])
def test_nothing_is_proposed_twice_while_something_is_left(
    space: dict[str, BaseDistribution] | None,
) -> None:
    study = search(FrontSampler(space, seed=1), 8 * 3 * 5)
    assert len({tuple(t.params.items()) for t in study.trials}) == 8 * 3 * 5
    study.optimize(objective, n_trials=2)
    assert len(study.trials) == 8 * 3 * 5 + 2


def test_it_finds_the_front_sooner_than_chance() -> None:
    """What random search covers after 60 of 120 combinations, it covers after 20."""
    ours = [covered(search(FrontSampler(SPACE, seed=seed), 20)) for seed in range(5)]
    chance = optuna.samplers.RandomSampler
    theirs = [covered(search(chance(seed=seed), 60)) for seed in range(5)]
    assert np.mean(ours) >= np.mean(theirs)


def test_only_what_can_run_is_proposed() -> None:
    sampler = FrontSampler(SPACE, runnable=lambda p: p["threads"] * p["share"] <= 2, seed=0)
    study = search(sampler, 30)
    assert all(t.params["threads"] * t.params["share"] <= 2 for t in study.trials)


def test_what_can_not_run_at_all_is_an_error() -> None:
    rule = "runnable must hold for some combination of threads, kind, share, but it does for none"
    with pytest.raises(ValueError, match=re.escape(f"{rule} of 120; see its result for {{")):
        search(FrontSampler(SPACE, runnable=lambda p: False), 1)


def test_constraints_and_failures_are_learnt() -> None:
    """Of chance's forty proposals a third would fail, and half would break the constraint."""
    rough = np.random.default_rng(5).uniform(0.0, 3.0, size=(9, 5))
    study = optuna.create_study(directions=["maximize"], sampler=FrontSampler(SPACE, seed=3))
    for _ in range(48):
        trial = study.ask(SPACE)
        threads, kind, share = (trial.params[name] for name in SPACE)
        if kind == "b":
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        trial.set_constraint("memory", threads - 4.0)
        study.tell(trial, threads + float(rough[threads, int(4 * share)]))
    late = study.trials[8:]
    assert sum(t.params["kind"] == "b" for t in late) <= 8
    assert sum(t.params["threads"] > 4 for t in late) <= 12
    kept = [t for t in study.trials if t.values and t.constraints["memory"] <= 0]
    best = (np.arange(9)[:5, None] + rough[:5]).max()
    assert max(t.values[0] for t in kept) == pytest.approx(best)


def test_wide_spaces_are_listed_by_steps() -> None:
    space: dict[str, BaseDistribution] = {
        "rate": FloatDistribution(1e-6, 1e-1, log=True),
        "width": IntDistribution(1, 4096, log=True),
        "depth": IntDistribution(2, 64, step=2),
        "share": FloatDistribution(0.0, 1.0),
    }
    study = optuna.create_study(sampler=FrontSampler(space, seed=0))
    for _ in range(30):
        trial = study.ask(space)
        away = np.log10(trial.params["rate"]) + 3
        study.tell(trial, away**2 + (trial.params["share"] - 0.5) ** 2)
    assert study.best_value < 0.1
    assert all(trial.params["depth"] % 2 == 0 for trial in study.trials)


def test_values_between_the_steps_are_taken_for_the_nearest() -> None:
    """What was asked for by others, or enqueued, teaches all the same."""
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
    study = optuna.create_study(sampler=FrontSampler(space, seed=0))
    for x in np.linspace(0.01, 0.99, 12):
        study.add_trial(
            optuna.create_trial(params={"x": x}, distributions=space, value=(x - 0.4) ** 2)
        )
    assert study.ask(space).params["x"] == pytest.approx(0.4, abs=0.1)


def test_infinite_values_count_as_failures() -> None:
    study = optuna.create_study(sampler=FrontSampler(SPACE, seed=0))
    for number in range(15):
        trial = study.ask(SPACE)
        study.tell(trial, float("inf") if number % 2 else number)
    assert len(study.trials) == 15


def test_six_objectives_with_a_front_of_sixty_points_are_proposed_for() -> None:
    """The grid of this front has 51 billion cells, 0.2 TB of them."""
    random = np.random.default_rng(0)
    directions = np.abs(random.normal(size=(60, 6)))
    values = 2 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    study = optuna.create_study(
        directions=["minimize" for _ in range(6)], sampler=FrontSampler(SPACE, seed=0)
    )
    combinations = [
        {"threads": threads, "kind": kind, "share": share}
        for threads in range(1, 9)
        for kind in ("a", "b", None)
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for place, point in zip(random.permutation(len(combinations)), values, strict=False):
        study.add_trial(
            optuna.trial.create_trial(
                params=combinations[place], distributions=SPACE, values=point.tolist()
            )
        )
    tried = [trial.params for trial in study.trials]
    assert study.ask(SPACE).params not in tried


def test_it_can_be_sent_to_another_process() -> None:
    sampler = FrontSampler(SPACE, seed=0)
    search(sampler, 10)
    copied = pickle.loads(pickle.dumps(sampler))
    search(copied, 10)
