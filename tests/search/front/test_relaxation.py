"""What giving way on a limit would buy."""

from collections.abc import Callable

import pytest

from tunefront.search import Experiment, Limit, Trial
from tunefront.search.front.relaxation import relaxations

DROP = Limit(metric="quality_drop", test="<=", bound=1.0)
MEMORY = Limit(metric="peak_memory_mb", test="<=", bound=450.0)
SPEED = Limit(metric="throughput", test=">=", bound=150.0)


@pytest.fixture
def experiment(load: Callable[..., Experiment]) -> Experiment:
    return load("limits={}")


@pytest.fixture
def row(trial: Callable[..., Trial]) -> Callable[..., Trial]:
    def make(number: int, speed: float, memory: float, drop: float) -> Trial:
        figures = {"throughput": speed, "peak_memory_mb": memory, "quality_drop": drop}
        return trial(number, {"threads": number + 1}, perplexity=10.0, **figures)

    return make


def relaxed(experiment: Experiment, trials: list[Trial], *limits: Limit) -> list[tuple[str, int]]:
    found = relaxations(experiment, trials, limits)
    return [(str(relaxation), relaxation.trial.number) for relaxation in found]


def test_each_limit_is_relaxed_alone(experiment: Experiment, row: Callable[..., Trial]) -> None:
    """2 breaks the drop, 3 the memory, 4 both; the recommended one within both is 1."""
    trials = [
        row(0, 100.0, 440.0, 0.0),
        row(1, 200.0, 430.0, 0.5),
        row(2, 400.0, 420.0, 1.2344),
        row(3, 900.0, 501.5, 0.5),
        row(4, 2000.0, 900.0, 9.0),
    ]
    assert relaxed(experiment, trials, DROP, MEMORY) == [
        ("quality_drop <= 1 relaxed to 1.24", 2),
        ("peak_memory_mb <= 450 relaxed to 502", 3),
    ]
    for relaxation in relaxations(experiment, trials, [DROP, MEMORY]):
        assert relaxation.relaxed.kept(relaxation.trial.value(relaxation.limit.metric))


def test_relaxing_a_limit_that_excludes_no_trial_gains_nothing(
    experiment: Experiment, row: Callable[..., Trial]
) -> None:
    trials = [row(0, 100.0, 440.0, 0.0), row(1, 200.0, 430.0, 0.5), row(2, 50.0, 430.0, 9.0)]
    assert relaxed(experiment, trials, DROP, MEMORY) == []


def test_where_no_trial_meets_a_limit_the_relaxation_is_reported(
    experiment: Experiment, row: Callable[..., Trial]
) -> None:
    trials = [row(0, 100.0, 440.0, 0.0), row(1, 120.4, 440.0, 0.0)]
    assert relaxed(experiment, trials, SPEED) == [("throughput >= 150 relaxed to 120", 1)]


def test_without_measured_trials_no_relaxation_gains_anything(
    experiment: Experiment, trial: Callable[..., Trial]
) -> None:
    assert relaxed(experiment, [trial(0, status="failed")], DROP) == []


def test_a_bound_of_nothing_stays_nothing(
    experiment: Experiment, row: Callable[..., Trial]
) -> None:
    gain = Limit(metric="quality_drop", test="<=", bound=-1.0)
    assert relaxed(experiment, [row(0, 100.0, 440.0, 0.0)], gain) == [
        ("quality_drop <= -1 relaxed to 0", 0)
    ]
