"""Several load levels: each has its own ratio to the baseline, from the trial to the front."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import Evaluation, Measurement
from tunefront.evaluators.measures.energy import ENERGY_PER_ITEM
from tunefront.evaluators.pipelines.base import RoundResult, TurnRates
from tunefront.search import Experiment, Trial, load_experiment
from tunefront.search.front.costs import SPEED, bounds_of, error_of
from tunefront.search.front.intervals import Intervals
from tunefront.search.run.confirm import Group, rounds_of
from tunefront.search.study.confirmation import Confirmation, Round, confirmed
from tunefront.search.study.derived_metrics import derive_measurements, measurements_of
from tunefront.search.study.process_deviation import with_process_deviation
from tunefront.spaces import Configuration, Hardware

TOY = Path(__file__).parents[2] / "extensions" / "toy_engine" / "toy_engine.py"
FILE = f"""\
name: counting
extensions: [{TOY}]
workload: {{task: counting, model: model, load: {{concurrency: [1, 16]}}}}
space: {{runtime: [counter], slots: [1, 2]}}
objectives: {{output_tokens_per_second@16: maximize, output_tokens_per_second@1: maximize}}
limits: {{ttft_ms@1: "<= 20"}}
price_per_hour: 2
budget: {{trials: 2}}
"""
RATE, OTHER = "output_tokens_per_second@16", "output_tokens_per_second@1"
RATIOS = {"1": 2.0, "16": 3.0}
"""How much faster the trial is than the baseline at each level."""
BASE = {OTHER: 100.0, RATE: 800.0, "ttft_ms@1": 10.0, "ttft_ms@16": 40.0, "energy_per_item": 6.0}
SEEN = {OTHER: 100.0, RATE: 1200.0, "ttft_ms@1": 10.0, "ttft_ms@16": 40.0, "energy_per_item": 6.0}
"""Measured when the machine was half as fast as in trial 0."""
TrialOf = Callable[..., Trial]


def around(value: float, share: float = 0.1) -> Measurement:
    low, high = value * (1 - share), value * (1 + share)
    return Measurement(value=value, unit="", low=low, high=high, samples=7)


def evaluation(figures: Mapping[str, float], **more: object) -> Evaluation:
    measured = {name: around(value) for name, value in figures.items()}
    made = Evaluation(status="ok", measurements=measured)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory, laptop: Hardware) -> Experiment:
    file = tmp_path_factory.mktemp("levels") / "experiment.yaml"
    file.write_text(FILE)
    return load_experiment(file, hardware=laptop)


@pytest.fixture(scope="module")
def own() -> Evaluation:
    ratios = {level: around(value, 0.05) for level, value in RATIOS.items()}
    return evaluation(SEEN, relative=ratios["16"], relative_at=ratios)


@pytest.fixture(scope="module")
def trials(experiment: Experiment, own: Evaluation) -> list[Trial]:
    """The baseline and a trial that was measured in turns with it."""
    base = evaluation(BASE)

    def made(number: int, evaluation: Evaluation, baseline: Evaluation | None) -> Trial:
        return Trial(
            number=number,
            configuration=Configuration({"runtime": "counter", "slots": number + 1}),
            catalog=experiment.space.catalog,
            status="ok",
            measurements=measurements_of(experiment, evaluation, baseline),
            evaluation=evaluation,
        )

    return [made(0, base, None), made(1, own, base)]


def test_each_level_has_the_ratio_of_its_own(trials: list[Trial]) -> None:
    found = {name: one.value for name, one in trials[1].measurements.items()}
    assert (found[OTHER], found[RATE]) == pytest.approx((200.0, 2400.0))
    # The machine was half as fast: times and energy are converted to half of what was measured.
    assert (found["ttft_ms@1"], found["ttft_ms@16"]) == pytest.approx((5.0, 20.0))
    assert found["cost_per_million_output_tokens@1"] == pytest.approx(2 / 3600 * 1e6 / 200)
    assert found["cost_per_million_output_tokens@16"] == pytest.approx(2 / 3600 * 1e6 / 2400)


def test_metrics_without_a_level_follow_the_highest_one(
    experiment: Experiment, own: Evaluation
) -> None:
    metrics = {**experiment.metrics, ENERGY_PER_ITEM.name: ENERGY_PER_ITEM}
    base = evaluation({**BASE, RATE: 400.0})
    found = derive_measurements(own, base, experiment.primary, metrics, None)
    assert found[ENERGY_PER_ITEM.name].value == pytest.approx(6.0)  # 3 x 400 / 1200 is 1
    assert found["ttft_ms@1"].value == pytest.approx(5.0)
    assert own.ratio("") == own.ratio("16")


def test_a_level_that_was_not_measured_has_no_ratio(own: Evaluation) -> None:
    assert own.ratio("4") is None


def round_of(scale: float) -> Round:
    return Round(
        ratios=[scale * RATIOS["16"]] * 3,
        ratios_at={level: [scale * value] * 3 for level, value in RATIOS.items()},
        values={**SEEN, "ttft_ms@1": 12.0},
        baseline_values={OTHER: 50.0, RATE: 200.0},
    )


def test_confirmation_takes_the_ratios_of_each_level(
    experiment: Experiment, trials: list[Trial]
) -> None:
    base = Round(ratios=[1.0], ratios_at={"1": [1.0], "16": [1.0]}, values=BASE)
    rounds = {0: [base, base], 1: [round_of(0.9), round_of(1.1)]}
    _, own = confirmed(trials, Confirmation(rounds=rounds), experiment.metrics)
    assert own.value(RATE) == pytest.approx(2400.0, rel=0.01)
    assert own.value(OTHER) == pytest.approx(200.0, rel=0.01)
    # Times are converted by the baseline's rate at the same level: 2 times here, 4 times there.
    assert own.value("ttft_ms@1") == pytest.approx(6.0)
    assert own.value("ttft_ms@16") == pytest.approx(10.0)
    assert Confirmation(rounds=rounds).speedup(1, "4") is None


def test_a_round_has_ratios_at_every_level(trials: list[Trial], experiment: Experiment) -> None:
    def result(factor: float, disturbed: int = 0) -> RoundResult:
        rates = {
            level: TurnRates(
                rates=[factor * n] * 6, undisturbed=[False] * disturbed + [True] * (6 - disturbed)
            )
            for level, n in (("1", 10.0), ("16", 80.0))
        }
        one = rates["16"]
        return RoundResult(rates=one.rates, undisturbed=[True] * 6, values={}, levels=rates)

    configuration = trials[1].configuration
    group = Group(finalists=(trials[1],), configurations=(experiment.baseline, configuration))
    found = rounds_of(group, [result(1.0), result(2.0)])[1]
    assert found is not None
    assert found.ratios_at == {"1": [2.0] * 6, "16": [2.0] * 6}
    assert found.undisturbed
    disturbed = rounds_of(group, [result(1.0), result(2.0, disturbed=6)])[1]
    assert disturbed is not None
    assert not disturbed.undisturbed


def test_unconfirmed_trials_get_the_variation_at_each_level(
    experiment: Experiment, trials: list[Trial]
) -> None:
    wider = with_process_deviation(trials[1], experiment.metrics, 0.2)
    for name in (RATE, OTHER):
        before, after = trials[1].measurements[name], wider.measurements[name]
        assert after.value == before.value
        assert after.high / after.value > 1.4 > before.high / before.value


def test_the_errors_of_two_levels_are_two(experiment: Experiment, trials: list[Trial]) -> None:
    intervals = Intervals(experiment, trials)
    names = [error_of(intervals, experiment.metrics[name]) for name in (RATE, OTHER)]
    assert names == [f"{SPEED}16", f"{SPEED}1"]
    bounds = bounds_of(intervals, trials, experiment.limits)
    assert bounds.shared == [f"{SPEED}1"]
    assert set(bounds.factors) >= set(names)
    exact = intervals.between(trials[0], OTHER)
    assert exact.low == exact.high == 100.0
    assert intervals.absolute(trials[1], OTHER).high > trials[1].measurements[OTHER].high
