"""Which choices matter: found where they do, not claimed where nobody can tell."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Trial
from tunefront.search.report.importance import (
    BELIEVED,
    LEAST_EXPLAINED_TRIALS,
    Importance,
    importance_of,
)

from .conftest import Search


def found(experiment: Experiment, trials: list[Trial], place: int = 0) -> Importance:
    return importance_of(trials, experiment.space.choices, experiment.objectives[place])


def with_figure(trials: list[Trial], of: Callable[[Trial], float]) -> list[Trial]:
    def exact(trial: Trial) -> Trial:
        if not trial.measured:
            return trial
        figure = Measurement.exact(of(trial), "MB")
        return replace(trial, measurements={**trial.measurements, "peak_memory_mb": figure})

    return [exact(trial) for trial in trials]


def test_what_an_objective_hangs_on_comes_first(experiment: Experiment, search: Search) -> None:
    trials = search(200)
    speed, memory, quality = (found(experiment, trials, place) for place in range(3))
    assert next(iter(speed.shares)) == "runtime"
    assert set(list(memory.shares)[:2]) == {"quantization_bits", "batch_size"}
    assert next(iter(quality.shares)) == "quantization_bits"
    for importance in (speed, memory, quality):
        assert importance.r2 is not None
        assert 0.8 < importance.r2 <= 1
        assert list(importance.shares.values()) == sorted(importance.shares.values(), reverse=True)
        assert "good" in str(importance)


def test_shares_are_those_of_the_variance(experiment: Experiment, search: Search) -> None:
    """Two choices that add up, three times in four the one: 0.9 and 0.1 of the variance."""
    trials = with_figure(
        search(200),
        lambda t: (
            300.0 * (t.configuration["runtime"] == "torch")
            + 100.0 * (t.configuration["precision"] == "bf16")
        ),
    )
    importance = found(experiment, trials, 1)
    assert importance.r2 == pytest.approx(1, abs=0.01)
    assert importance.shares["runtime"] == pytest.approx(0.9, abs=0.1)
    assert importance.shares["precision"] == pytest.approx(0.1, abs=0.05)
    assert importance.shares["threads"] == pytest.approx(0, abs=0.01)


def test_noise_alone_has_no_importance(experiment: Experiment, search: Search) -> None:
    random = np.random.default_rng(3)
    importance = found(experiment, with_figure(search(), lambda t: random.uniform(1, 2)), 1)
    assert importance.r2 is not None
    assert importance.r2 < BELIEVED
    assert importance.shares == {}
    assert str(importance).startswith("not estimated: R² ")


@pytest.mark.parametrize("case", ["few", "constant", "one configuration"])
def test_where_there_is_nothing_to_learn_from_that_is_reported(
    experiment: Experiment, search: Search, case: str
) -> None:
    trials = search(LEAST_EXPLAINED_TRIALS if case == "few" else 40)
    if case == "constant":
        trials = with_figure(trials, lambda t: 7.0)
    if case == "one configuration":
        trials = [replace(t, configuration=trials[0].configuration) for t in trials]
    importance = found(experiment, trials, 1)
    assert importance.r2 is None
    text = f"not estimated from {importance.trials} measured trials"
    if case == "constant":
        text = f"the same in all {importance.trials} measured trials: no choice moves it"
    assert str(importance) == text


def test_of_many_trials_a_part_is_looked_at_and_the_same_every_time(
    experiment: Experiment, search: Search
) -> None:
    trials = search(500)
    importance = found(experiment, trials)
    assert importance.trials == 300
    assert importance == found(experiment, trials)
