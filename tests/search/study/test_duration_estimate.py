"""What trials should take, from those that were recorded."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from tunefront.evaluators import Evaluation
from tunefront.evaluators.evaluation.evaluation import WAITING
from tunefront.search import Experiment, Trial
from tunefront.search.experiment.resolver import SMOKE_S
from tunefront.search.study.duration_estimate import RECENT, estimate_of, recorded_estimate
from tunefront.search.study.study import Study
from tunefront.spaces import Configuration, ExperimentError

Taken = Callable[..., Trial]
NOW = datetime(2030, 1, 31, 19, 30)


@pytest.fixture
def taken(trial: Callable[..., Trial], evaluation: Callable[..., Evaluation]) -> Taken:
    """A trial that took so many seconds, with a build or without."""

    def make(number: int, seconds: float, runtime: str, *, reused: bool = False) -> Trial:
        found = replace(
            evaluation(), seconds={"total": seconds}, reused=("candidate",) if reused else ()
        )
        values = {"runtime": runtime, "batch_size": number}
        return trial(number, values, evaluation=found, throughput=1.0)

    return make


def test_nothing_is_expected_before_anything_was_measured() -> None:
    assert estimate_of([]) is None


def test_what_is_built_already_costs_less(taken: Taken) -> None:
    trials = [taken(0, 30, "torch"), taken(1, 40, "openvino"), taken(2, 10, "torch", reused=True)]
    estimate = estimate_of(trials)
    assert estimate is not None
    assert estimate.expected_s(Configuration({"runtime": "torch", "batch_size": 9})) == 10
    assert estimate.expected_s(Configuration({"runtime": "onnxruntime", "batch_size": 9})) == 35
    assert estimate.mean_s == pytest.approx(80 / 3)


def test_what_is_safe_covers_nine_in_ten(taken: Taken) -> None:
    estimate = estimate_of([taken(number, float(number), "torch") for number in range(1, 22)])
    assert estimate is not None
    assert estimate.safe_s(Configuration({"runtime": "openvino"})) == 19
    assert estimate.expected_s(Configuration({"runtime": "openvino"})) == 11


def test_the_record_of_the_quick_check_serves_until_there_is_another(
    load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> None:
    experiment = load()
    assert recorded_estimate(experiment) is None
    quick = replace(experiment, name=f"{experiment.name} (smoke)")
    study = Study.open(quick, {})
    study.tell(study.ask(experiment.baseline), evaluation())
    found = recorded_estimate(experiment)
    assert found is not None
    measured_s = experiment.protocol.seconds - SMOKE_S
    assert (found.trials, found.with_build_s) == (1, 1.0 + measured_s)


def test_the_whole_search_evaluates_more_items_than_its_quick_check(
    load: Callable[..., Experiment], evaluation: Callable[..., Evaluation]
) -> None:
    experiment = load("measurement.seconds=0.5")
    data = experiment.workload.path("nowhere.jsonl")
    data.write_text('{"text": "a"}\n' * 48 + "\n")
    study = Study.open(replace(experiment, name=f"{experiment.name} (smoke)"), {})
    seconds, facts = {"total": 9.0, "quality": 2.0}, {"items": 16}
    study.tell(study.ask(experiment.baseline), replace(evaluation(), seconds=seconds, facts=facts))
    found = recorded_estimate(experiment)
    assert found is not None
    assert found.with_build_s == 9.0 + 2 * 2.0


def test_estimates_include_the_waiting_of_the_last_trials(taken: Taken) -> None:
    def waiting(trial: Trial, seconds: float) -> Trial:
        assert trial.evaluation is not None
        own = trial.evaluation.seconds["total"]
        times = {"total": own + seconds, WAITING: seconds}
        return replace(trial, evaluation=replace(trial.evaluation, seconds=times))

    early = [waiting(taken(number, 10.0, "torch"), 100.0) for number in range(3)]
    late = [waiting(taken(number, 10.0, "torch"), 5.0) for number in range(3, 3 + RECENT)]
    found = estimate_of([*early, *late])
    assert found is not None
    assert found.waiting == 1.5
    assert found.expected_s(Configuration({"runtime": "openvino"})) == 10.0
    assert (found.mean_s, found.safe_s(Configuration({"runtime": "openvino"}))) == (15.0, 15.0)
    assert found.seconds(2, 2) == pytest.approx((2 * 5.0, 2 * 15.0))


def test_the_first_of_hours_and_time_ends_it(load: Callable[..., Experiment]) -> None:
    budget = load("budget={hours: 2, until: '21:00'}").budget
    assert budget.seconds(0.0, NOW) == 1.5 * 3600
    assert budget.seconds(3600.0, NOW) == 3600
    assert budget.seconds(3 * 3600.0, NOW) == 0
    assert load("budget={trials: 3}").budget.seconds(0.0, NOW) is None


def test_yaml_makes_minutes_of_an_hour_and_we_take_it_back(load: Callable[..., Experiment]) -> None:
    assert load("budget={until: 22:30}").budget.until == "22:30"
    assert load("budget={until: 07:00}").budget.until == "07:00"


def test_a_time_that_is_none_is_refused_with_its_line(load: Callable[..., Experiment]) -> None:
    with pytest.raises(ExperimentError, match=r"budget\.until: a time such as '07:00'"):
        load("budget={until: tomorrow}")
