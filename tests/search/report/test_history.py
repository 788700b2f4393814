"""How the front grew."""

from collections.abc import Callable

import pytest

from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.report.history import history_of
from tunefront.search.study.confirmation import Confirmation


def test_it_only_grows_and_ends_whole(result: Result) -> None:
    history = history_of(result)
    shares = [share for _, share in history]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    kept = [t.number for t in result.trials if t.measured and t.value("quality_drop") <= 5]
    assert [number for number, _ in history] == kept


def test_it_grows_where_a_trial_comes_onto_the_front(
    load: Callable[..., Experiment], trial: Callable[..., Trial]
) -> None:
    """Throughputs of 100, 300, 200 against memory of 500, 500, 400; the fourth adds nothing."""
    figures = [(100, 500), (300, 500), (200, 400), (150, 450)]
    trials = [
        trial(n, throughput=speed, peak_memory_mb=memory, perplexity=1.0, quality_drop=0.0)
        for n, (speed, memory) in enumerate(figures)
    ]
    history = history_of(result_of(load(), trials, Confirmation()))
    # The reference is 100 items/s and 600 MB: 0, 200 x 100, then 100 x 100 more.
    assert history == [
        (0, 0.0),
        (1, pytest.approx(2 / 3)),
        (2, pytest.approx(1)),
        (3, pytest.approx(1)),
    ]


def test_one_trial_and_one_objective_are_enough(
    load: Callable[..., Experiment], trial: Callable[..., Trial]
) -> None:
    experiment = load("objectives={throughput: maximize}")
    only = trial(0, throughput=9.0, peak_memory_mb=1.0, perplexity=1.0, quality_drop=0.0)
    assert history_of(result_of(experiment, [only], Confirmation())) == [(0, 1.0)]
    beyond = trial(0, throughput=9.0, peak_memory_mb=1.0, perplexity=1.0, quality_drop=50.0)
    assert history_of(result_of(experiment, [beyond], Confirmation())) == []
