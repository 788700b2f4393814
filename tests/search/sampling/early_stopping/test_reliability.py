"""First looks: what they are worth, and which trials end at them."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import Evaluation, InterimResult, Measurement
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.search import Experiment, Trial
from tunefront.search.sampling.early_stopping.reliability import InterimReliability, reliability_of
from tunefront.search.sampling.early_stopping.thresholds import (
    CONTROL_EVERY,
    StoppingThresholds,
    thresholds_for,
)
from tunefront.search.study.derived_metrics import measurements_of
from tunefront.spaces import Configuration

TrialOf = Callable[..., Trial]
EvaluationOf = Callable[..., Evaluation]

BEATEN = "interim result: 009 is better in every objective"


def times(value: float, spread: float = 0.01) -> Measurement:
    low, high = (1 - spread) * value, (1 + spread) * value
    return Measurement(value=value, unit="x", low=low, high=high, samples=7)


@pytest.fixture
def experiment(load: Callable[..., Experiment]) -> Experiment:
    """Throughput and peak memory, quality not more than 5 % worse."""
    return load()


@pytest.fixture
def seen(evaluation: EvaluationOf) -> EvaluationOf:
    """Of something that is so many times as fast as the baseline of 100 items/s."""

    def make(speed: float, memory: float = 500.0, loss: float = 0.0, spread: float = 0.01) -> Any:
        figures = {"throughput": 100 * speed, "latency_ms": 10 / speed, "peak_memory_mb": memory}
        items = [1 + loss / 100 + 0.001 * place for place in range(9)]
        found = evaluation(items=items, **figures, perplexity=float(np.exp(np.mean(items))))
        return replace(found, relative=times(speed, spread))

    return make


@pytest.fixture
def looked(experiment: Experiment, seen: EvaluationOf) -> TrialOf:
    """A trial that is so many times as fast as the baseline, and seemed to be `first`."""

    def make(number: int, speed: float, first: float, memory: float = 500.0, **look: Any) -> Trial:
        found = replace(seen(speed, memory), interim=InterimResult(speed=times(first), **look))
        return Trial(
            number=number,
            configuration=Configuration({"threads": number + 1}),
            catalog=experiment.space.catalog,
            status="ok",
            measurements=measurements_of(experiment, found, seen(1.0) if number else None),
            evaluation=found,
        )

    return make


@pytest.fixture
def trusted(looked: TrialOf) -> list[Trial]:
    """Ten trials whose first looks were nearly right; the last is best in everything."""
    return [looked(n, 1 + n, (1 + n) * (1.01 if n % 2 else 0.99), 500 - 10 * n) for n in range(10)]


def test_interim_results_that_rank_as_all_turns_do_are_trusted(
    trusted: list[Trial], experiment: Experiment
) -> None:
    found = reliability_of(trusted, experiment.objectives)
    assert found.trusted
    assert found.trials == 10
    assert found.correlation == pytest.approx(1.0)
    assert found.deviation == pytest.approx(0.01, rel=0.02)
    assert found.describe() == (
        "rank correlation of interim and final speeds 1: 0 trials stopped early"
    )
    assert not reliability_of(trusted[:7], experiment.objectives).trusted
    assert reliability_of(trusted[:7], experiment.objectives).describe() == ""


def test_interim_results_that_rank_otherwise_stop_nothing(
    looked: TrialOf, experiment: Experiment
) -> None:
    order = [3, 1, 9, 0, 5, 8, 2, 7, 4, 6]
    trials = [looked(n, 1 + n, 1 + seemed) for n, seemed in enumerate(order)]
    found = reliability_of(trials, experiment.objectives)
    expected = np.corrcoef(range(10), order)[0, 1]
    assert found.correlation == pytest.approx(expected)
    assert not found.trusted
    assert found.describe().endswith(f"{expected:.2f}; not used below 0.9")
    assert thresholds_for(experiment, trials, 11) is None


def test_equal_speeds_share_their_rank(looked: TrialOf, experiment: Experiment) -> None:
    trials = [looked(n, 1 + n // 2, 1 + n // 2) for n in range(10)]
    assert reliability_of(trials, experiment.objectives).correlation == pytest.approx(1.0)
    same = [looked(n, 1.0, 1 + n) for n in range(10)]
    assert reliability_of(same, experiment.objectives).correlation == 0.0
    assert reliability_of([], experiment.objectives) == InterimReliability(
        trials=0, correlation=0.0, deviation=0.0, stopped=0, controls=0, wrong=0
    )


def test_one_that_was_wrong_ends_all_trust(
    trusted: list[Trial], looked: TrialOf, experiment: Experiment
) -> None:
    right = [*trusted, looked(16, 5, 5, 600.0, reason=BEATEN)]
    found = reliability_of(right, experiment.objectives)
    assert (found.controls, found.wrong, found.trusted) == (1, 0, True)
    assert found.describe().endswith("0 trials stopped early, 1 control trials agreed")
    wrong = [*trusted, looked(16, 5, 5, 1.0, reason=BEATEN)]
    found = reliability_of(wrong, experiment.objectives)
    assert (found.controls, found.wrong, found.trusted) == (1, 1, False)
    assert found.describe().endswith("but 1 of 1 control trials disagreed: not used")
    assert thresholds_for(experiment, wrong, 17) is None


def test_trials_stopped_early_do_not_count_for_the_reliability(
    trusted: list[Trial], looked: TrialOf, experiment: Experiment
) -> None:
    ended = looked(11, 2, 9, reason=BEATEN, stopped=True)
    found = reliability_of([*trusted, ended], experiment.objectives)
    assert (found.trials, found.stopped) == (10, 1)
    assert found.describe().endswith(" 1: 1 trial stopped early")


def test_who_is_behind_in_everything_ends(
    trusted: list[Trial], experiment: Experiment, seen: EvaluationOf
) -> None:
    thresholds = thresholds_for(experiment, trusted, CONTROL_EVERY + 1)
    assert thresholds is not None
    best = trusted[-1]
    behind = thresholds.interim_result(seen(8.0, 600.0))
    assert behind.reason == f"interim result: {best.name()} is better in every objective"
    assert behind.stopped
    assert behind.speed == times(8.0)
    for speed, memory in ((8.0, 400.0), (12.0, 600.0), (9.8, 600.0)):
        assert thresholds.interim_result(seen(speed, memory)) == InterimResult(speed=times(speed))


def test_the_margin_is_as_wide_as_the_largest_interim_error(
    looked: TrialOf, experiment: Experiment, seen: EvaluationOf
) -> None:
    """Looks that were 10 % off: what seems 25 % slower may still be ahead."""
    rough = [looked(n, 2.0**n, 2.0**n * (1.1 if n % 2 else 0.9)) for n in range(10)]
    thresholds = thresholds_for(experiment, rough, 11)
    assert thresholds is not None
    assert not thresholds.interim_result(seen(0.75 * 2**9, 600.0)).stopped
    assert thresholds.interim_result(seen(0.6 * 2**9, 600.0)).stopped


def test_an_interim_result_with_a_wide_interval_stops_nothing_within_it(
    trusted: list[Trial], experiment: Experiment, seen: EvaluationOf
) -> None:
    thresholds = thresholds_for(experiment, trusted, 11)
    assert thresholds is not None
    assert thresholds.interim_result(seen(8.0, 600.0, spread=0.1)).stopped
    assert not thresholds.interim_result(seen(8.0, 600.0, spread=0.3)).stopped


def test_a_limit_out_of_reach_ends(
    load: Callable[..., Experiment], looked: TrialOf, trusted: list[Trial], seen: EvaluationOf
) -> None:
    strict = load("limits.latency_ms=<= 2", "limits.quality_drop=<= 5%")
    thresholds = thresholds_for(strict, trusted, 11)
    assert thresholds is not None
    assert (
        thresholds.interim_result(seen(3.0, 1.0)).reason
        == "interim result: latency_ms <= 2 is out of reach"
    )
    assert not thresholds.interim_result(seen(4.95, 1.0)).stopped
    text = thresholds.interim_result(seen(20.0, 1.0, loss=20.0)).reason
    assert text == "interim result: quality_drop <= 5 is out of reach"


def test_one_in_eight_trials_is_a_control_trial(
    trusted: list[Trial], experiment: Experiment, seen: EvaluationOf
) -> None:
    thresholds = thresholds_for(experiment, trusted, 2 * CONTROL_EVERY)
    assert thresholds is not None
    found = thresholds.interim_result(seen(2.0, 600.0))
    assert found.reason
    assert not found.stopped


def test_a_reference_is_never_stopped(
    trusted: list[Trial], experiment: Experiment, looked: TrialOf, seen: EvaluationOf
) -> None:
    (default, *_) = (one.configuration for one in experiment.references)
    assert default is not None
    for configuration, stopped in ((default, False), (experiment.baseline, True)):
        running = replace(looked(11, 2.0, 2.0), configuration=configuration)
        thresholds = thresholds_for(experiment, [*trusted, running], 11)
        assert thresholds is not None
        assert thresholds.interim_result(seen(2.0, 600.0)).stopped is stopped


def test_quality_that_is_not_known_yet_is_taken_as_the_best_of_all_trials(
    load: Callable[..., Experiment], looked: TrialOf, seen: EvaluationOf
) -> None:
    """Of ten trials the slowest has the best quality; the one with number 9 is best otherwise."""
    experiment = load("objectives={throughput: maximize, perplexity: minimize}", "limits={}")

    def trial(number: int) -> Trial:
        one = looked(number, 1.0 + number, 1.0 + number)
        better = replace(one.measurements["perplexity"], value=10.0 + number)
        return replace(one, measurements={**one.measurements, "perplexity": better})

    trials = [trial(number) for number in range(10)]
    thresholds = thresholds_for(experiment, trials, 11)
    assert thresholds is not None
    whole = seen(0.5)
    unknown = replace(
        whole,
        measurements={n: m for n, m in whole.measurements.items() if n != "perplexity"},
        items=((), ()),
    )
    found = thresholds.interim_result(unknown)
    assert found.reason == "interim result: 000 t1 is better in every objective"
    faster = replace(unknown, relative=times(1.5))
    assert not thresholds.interim_result(faster).stopped
    without_speed = replace(unknown, measurements={}, relative=None)
    assert not thresholds.interim_result(without_speed).stopped


def test_speed_comes_first_where_quality_takes_longer(
    load: Callable[..., Experiment], trusted: list[Trial]
) -> None:
    def taking(quality: float, measure: float, *reused: str) -> list[Trial]:
        seconds = {"quality": quality, "measure": measure, "total": quality + measure}
        return [
            replace(t, evaluation=replace(t.evaluation, seconds=seconds, reused=reused))
            for t in trusted
            if t.evaluation
        ]

    def first(trials: list[Trial], *overrides: str) -> bool:
        thresholds = thresholds_for(load(*overrides), trials, 11)
        assert thresholds is not None
        return thresholds.speed_first

    assert first(taking(20.0, 5.0))
    assert not first(taking(5.0, 20.0))
    assert not first(taking(20.0, 5.0, "quality"))
    assert not first(trusted)
    assert not first(taking(20.0, 5.0), "limits.agreement='>= 0.9'")


def test_a_race_travels_as_json(
    trusted: list[Trial], experiment: Experiment, seen: EvaluationOf
) -> None:
    thresholds = thresholds_for(experiment, trusted, 11)
    assert thresholds is not None
    again = from_plain(StoppingThresholds, json.loads(json.dumps(to_plain(thresholds))))
    for found in (seen(8.0, 600.0), seen(12.0, 600.0), seen(12.0, 1.0, loss=30.0)):
        assert again.interim_result(found) == thresholds.interim_result(found)


def test_who_does_not_want_it_gets_all_turns(
    load: Callable[..., Experiment], trusted: list[Trial]
) -> None:
    assert thresholds_for(load("measurement.early_stop=false"), trusted, 11) is None
    assert thresholds_for(load(), [], 0) is None
