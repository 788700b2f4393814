"""The record on real sqlite: asked, told, settled, refused, and read again by another process."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
import pytest

from tunefront.evaluators import Evaluation
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search import Experiment, load_experiment
from tunefront.search.study.confirmation import Confirmation, Round
from tunefront.search.study.study import RECORD_FORMAT, STUDY_FILE, TRIAL_ATTEMPTS, Study
from tunefront.spaces import Configuration, Hardware, StudyError

EvaluationOf = Callable[..., Evaluation]
Load = Callable[..., Experiment]
IDENTITY = {"workload": "abc", "machine": "a laptop", "libraries": "torch 2"}


@pytest.fixture
def experiment(load: Load) -> Experiment:
    """Throughput and peak memory, with at most 5 % of the perplexity lost."""
    return load()


@pytest.fixture
def study(experiment: Experiment) -> Study:
    """A record of nothing yet."""
    return Study.open(experiment, IDENTITY)


@pytest.fixture
def begun(study: Study, evaluation: EvaluationOf) -> Study:
    """A record that has its baseline."""
    study.tell(study.ask(study.experiment.baseline), evaluation(perplexity=10.0))
    return study


def fast(study: Study) -> Configuration:
    return study.experiment.space.member({"runtime": "openvino", "threads": 2})


def stored(study: Study, number: int) -> optuna.trial.FrozenTrial:
    """The trial as Optuna reads it from the file."""
    storage = f"sqlite:///{study.experiment.results / STUDY_FILE}"
    return optuna.load_study(study_name=study.experiment.slug, storage=storage).trials[number]


def refusal(experiment: Experiment, identity: Mapping[str, object] = IDENTITY) -> str:
    with pytest.raises(StudyError) as caught:
        Study.open(experiment, identity)
    return str(caught.value).replace(str(experiment.results), "RESULTS")


def test_the_baseline_is_trial_zero(study: Study) -> None:
    assert study.baseline() is None
    assert study.ask(study.experiment.baseline) == 0
    baseline = study.baseline()
    assert baseline is not None and baseline.configuration == study.experiment.baseline


def test_trials_are_numbered_as_they_are_asked(study: Study, evaluation: EvaluationOf) -> None:
    numbers = [study.ask(c) for c in study.experiment.space.enumerate().runnable[:3]]
    assert numbers == [0, 1, 2]
    study.tell(2, evaluation(throughput=7.0))
    assert [trial.number for trial in study.trials()] == numbers
    assert [trial.status for trial in study.trials()] == ["running", "running", "ok"]


def test_the_proposed_configuration_is_recorded(begun: Study) -> None:
    number = begun.ask(fast(begun))
    assert begun.trial(number).configuration == fast(begun)
    assert stored(begun, number).params == dict(fast(begun))


def test_why_a_trial_was_proposed_stays_with_it(begun: Study, evaluation: EvaluationOf) -> None:
    number = begun.ask(fast(begun), reason="expected to add 3 % to the front")
    assert begun.trial(number).reason == "expected to add 3 % to the front"
    assert begun.tell(number, evaluation()).reason == "expected to add 3 % to the front"
    assert begun.trial(0).reason == ""


def test_what_was_expected_of_a_trial_stays_with_it(begun: Study, evaluation: EvaluationOf) -> None:
    number = begun.ask(fast(begun), expected={"throughput": (90.0, 140.0)})
    assert begun.tell(number, evaluation()).expected == {"throughput": (90.0, 140.0)}
    assert begun.trial(0).expected == {}


def test_a_baseline_outside_the_listed_values_is_recorded_as_it_is(
    load: Load, evaluation: EvaluationOf
) -> None:
    experiment = load("baseline.threads=4")
    study = Study.open(experiment, IDENTITY)
    study.tell(study.ask(experiment.baseline), evaluation())
    study.ask(fast(study))
    assert study.trial(0).configuration["threads"] == 4
    assert stored(study, 0).params["threads"] == 4
    assert stored(study, 1).params == dict(fast(study))


def test_a_trial_under_way_has_no_values(study: Study) -> None:
    trial = study.trial(study.ask(study.experiment.baseline))
    assert (trial.status, dict(trial.measurements), trial.ended) == ("running", {}, None)
    assert trial.started is not None


def test_a_trial_within_limits_is_ok_and_keeps_everything(
    begun: Study, evaluation: EvaluationOf
) -> None:
    text = evaluation(throughput=300.0, perplexity=10.4, spread=0.1)
    trial = begun.tell(begun.ask(fast(begun)), text)
    assert trial.status == "ok"
    assert trial.evaluation == text
    assert trial.measurements["throughput"] == text.measurements["throughput"]
    assert trial.value("quality_drop") == pytest.approx(4.0)
    assert trial.started is not None and trial.ended is not None
    assert trial == begun.trial(1) == Study.read(begun.experiment).trial(1)


def test_the_baseline_itself_loses_nothing(begun: Study) -> None:
    drop = begun.trial(0).measurements["quality_drop"]
    assert (drop.value, drop.low, drop.high) == (0.0, 0.0, 0.0)


def test_the_loss_is_taken_item_by_item(study: Study, evaluation: EvaluationOf) -> None:
    study.tell(study.ask(study.experiment.baseline), evaluation(items=(2.0, 2.5, 3.0)))
    own = evaluation(items=(2.1, 2.6, 3.1), perplexity=99.0)
    drop = study.tell(study.ask(fast(study)), own).measurements["quality_drop"]
    assert drop.value == pytest.approx(10.517, abs=0.001)
    assert drop.high - drop.low == pytest.approx(0.0, abs=1e-6)


def test_a_trial_beyond_a_limit_is_infeasible_and_says_which(
    begun: Study, evaluation: EvaluationOf
) -> None:
    trial = begun.tell(begun.ask(fast(begun)), evaluation(perplexity=11.0))
    assert trial.status == "infeasible"
    assert trial.cause == "quality_drop <= 5 %"
    assert trial.value("quality_drop") == pytest.approx(10.0)


def test_limits_changed_afterwards_are_evaluated_by_the_record(
    begun: Study, evaluation: EvaluationOf, laptop: Hardware
) -> None:
    begun.tell(begun.ask(fast(begun)), evaluation(perplexity=11.0))
    wider = load_experiment(
        begun.experiment.path, ["limits={quality_drop: '<= 20%'}"], hardware=laptop
    )
    assert [trial.status for trial in Study.read(wider).trials()] == ["ok", "ok"]


def test_objectives_and_constraints_are_stored_for_optuna(
    begun: Study, evaluation: EvaluationOf
) -> None:
    begun.tell(begun.ask(fast(begun)), evaluation(throughput=300.0, perplexity=11.0))
    frozen = stored(begun, 1)
    assert frozen.state == optuna.trial.TrialState.COMPLETE
    assert frozen.values == [300.0, 500.0]
    assert frozen.constraints == pytest.approx({"quality_drop <= 5": 5.0})


def test_a_failed_trial_has_a_cause_and_no_values(begun: Study, failure: EvaluationOf) -> None:
    trial = begun.tell(begun.ask(fast(begun)), failure("timeout", "too slow"))
    assert (trial.status, trial.cause, dict(trial.measurements)) == ("failed", "timeout", {})
    frozen = stored(begun, 1)
    assert frozen.state == optuna.trial.TrialState.FAIL
    assert frozen.values is None
    assert not frozen.constraints


def test_values_of_a_failed_trial_are_no_values(begun: Study, evaluation: EvaluationOf) -> None:
    failed = replace(evaluation(perplexity=99.0), status="failed", cause="not applied")
    trial = begun.tell(begun.ask(fast(begun)), failed)
    assert (dict(trial.measurements), trial.broken) == ({}, ())
    assert stored(begun, 1).values is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["throughput", "peak_memory_mb"])
def test_an_objective_without_a_finite_number_is_an_invalid_output(
    begun: Study, evaluation: EvaluationOf, name: str, value: float
) -> None:
    trial = begun.tell(begun.ask(fast(begun)), evaluation(**{name: value}))
    assert (trial.status, trial.cause) == ("failed", "invalid output")
    assert trial.evaluation is not None
    assert trial.evaluation.message == f"{name} must be a finite number, but got {value}"
    assert trial.evaluation.seconds == {"total": 1.0}
    assert stored(begun, 1).values is None


def test_a_limit_without_a_finite_number_is_an_invalid_output(
    begun: Study, evaluation: EvaluationOf
) -> None:
    trial = begun.tell(begun.ask(fast(begun)), evaluation(perplexity=float("nan")))
    assert trial.evaluation is not None
    assert trial.evaluation.message == "quality_drop must be a finite number, but got nan"


def test_a_baseline_near_0_is_refused_where_the_limit_is_in_percent(
    load: Load, evaluation: EvaluationOf
) -> None:
    """Its quality drops would be -1.25e13 % and the like."""
    custom = "workload={task: custom, model: 'm:model', inputs: 'm:inputs', quality: 'm:quality', "
    custom += "direction: maximize}"
    refused, free = (Study.open(load(custom, *more), IDENTITY) for more in ((), ("limits={}",)))
    for scores in ([0.3, -0.2, 0.1, -0.2], [0.0, 0.0]):
        baseline = evaluation(scores, score=0.0)
        found = refused.tell(refused.ask(fast(refused)), baseline)
        assert found.evaluation is not None
        assert (found.status, found.cause) == ("failed", "invalid output")
        assert found.evaluation.message == (
            "limits: quality_drop <= 5 %: score is 0, not distinguishable from 0: a change in "
            'percent of it has no meaning; write limits: {score: ">= NUMBER"}, in its own unit'
        )
        found = free.tell(free.ask(fast(free)), baseline)
        assert found.status == "ok"
        assert "quality_drop" not in found.measurements


def test_an_objective_that_was_not_measured_is_an_invalid_output(
    begun: Study, evaluation: EvaluationOf
) -> None:
    whole = evaluation()
    found = {n: m for n, m in whole.measurements.items() if n != "throughput"}
    trial = begun.tell(begun.ask(fast(begun)), replace(whole, measurements=found))
    assert trial.evaluation is not None
    assert trial.evaluation.message == "throughput must be a finite number, but got nothing"


def test_what_was_recorded_is_read_by_another_process(
    begun: Study, evaluation: EvaluationOf
) -> None:
    begun.tell(begun.ask(fast(begun)), evaluation(throughput=300.0))
    program = """
import sys
from tunefront.search import load_experiment
from tunefront.search.study.study import Study
import json
from tunefront.search.results.rows import trial_record
print(json.dumps([trial_record(t) for t in Study.read(load_experiment(sys.argv[1])).trials()]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(begun.experiment.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert [trial["status"] for trial in found] == ["ok", "ok"]
    assert found[1]["configuration"] == dict(fast(begun))
    assert found[1]["measurements"]["throughput"]["value"] == 300


def test_a_record_is_resumed(begun: Study) -> None:
    again = Study.open(begun.experiment, IDENTITY)
    assert again.search_id == begun.search_id
    assert again.identity == {**IDENTITY, "record": RECORD_FORMAT}
    assert again.ask(fast(begun)) == 1
    assert len(again.trials()) == 2


def test_two_searches_have_different_ids(study: Study, load: Load) -> None:
    assert Study.open(load(), IDENTITY).search_id != study.search_id


def test_another_identity_is_refused_with_the_differences(begun: Study) -> None:
    text = refusal(begun.experiment, {**IDENTITY, "machine": "a server", "libraries": "torch 3"})
    assert text == (
        "RESULTS holds measurements of something else (libraries: was torch 2, is torch 3; "
        "machine: was a laptop, is a server); start again with --fresh, or under another name"
    )


@pytest.mark.parametrize(
    ("override", "now"),
    [
        ("objectives={throughput: maximize}", "throughput (maximize)"),
        (
            "objectives={throughput: maximize, weights_mb: minimize}",
            "throughput (maximize), weights_mb (minimize)",
        ),
    ],
)
def test_other_objectives_are_refused(
    begun: Study, laptop: Hardware, override: str, now: str
) -> None:
    other = load_experiment(begun.experiment.path, [override], hardware=laptop)
    assert refusal(other) == (
        "RESULTS was searched for throughput (maximize), peak_memory_mb (minimize), "
        f"but the file has {now}; start again with --fresh, or under another name"
    )


def test_a_missing_record_is_refused_with_the_next_step(experiment: Experiment) -> None:
    with pytest.raises(StudyError) as caught:
        Study.read(experiment)
    assert str(caught.value) == (
        f"Made up: no record in {experiment.results}; start with `tunefront run {experiment.path}`"
    )
    assert not experiment.results.exists()


def test_a_record_of_another_search_is_refused(experiment: Experiment) -> None:
    experiment.results.mkdir(parents=True)
    (experiment.results / STUDY_FILE).touch()
    with pytest.raises(StudyError) as caught:
        Study.read(experiment)
    assert str(caught.value) == f"{experiment.results / STUDY_FILE} holds no search named made-up"


def test_what_is_no_record_is_refused(experiment: Experiment) -> None:
    experiment.results.mkdir(parents=True)
    (experiment.results / STUDY_FILE).write_text("not a database, but long enough to be one" * 99)
    text = f"{re.escape(str(experiment.results / STUDY_FILE))} can't be opened: "
    with pytest.raises(StudyError, match=text):
        Study.read(experiment)
    with pytest.raises(StudyError, match=text):
        Study.open(experiment, IDENTITY)


def test_a_trial_that_does_not_exist_is_refused(study: Study) -> None:
    with pytest.raises(StudyError) as caught:
        study.trial(0)
    assert str(caught.value) == "trial 0 does not exist; nothing has been run yet"
    study.ask(study.experiment.baseline)
    for number in (1, -1):
        with pytest.raises(StudyError) as caught:
            study.trial(number)
        assert str(caught.value) == f"trial {number} does not exist; there are 0 to 0"


def test_what_was_running_when_a_driver_ended_is_run_again_under_its_number(begun: Study) -> None:
    begun.ask(fast(begun))
    study = Study.open(begun.experiment, IDENTITY)
    assert study.reconcile({}) == [1]
    again = study.restart(1)
    assert again is not None
    assert (again.number, again.status, again.attempt) == (1, "running", 2)
    assert again.configuration == fast(begun)
    assert len(study.trials()) == 2


def test_a_trial_whose_worker_dies_every_time_is_recorded_as_a_crash(begun: Study) -> None:
    number = begun.ask(fast(begun))
    starts = 1
    while begun.restart(number) is not None:
        starts += 1
    assert starts == TRIAL_ATTEMPTS
    assert (begun.trial(1).status, begun.trial(1).cause) == ("failed", "crash")


def test_a_restart_that_the_trial_did_not_cause_is_no_attempt(begun: Study) -> None:
    number = begun.ask(fast(begun))
    for _ in range(2 * TRIAL_ATTEMPTS):
        assert begun.restart(number, counted=False) is not None
    assert begun.trial(number).attempt == 1


def test_a_trial_is_in_the_record_whole_or_not_at_all(begun: Study) -> None:
    """No row without its configuration, whenever another process looks."""
    begun.ask(fast(begun), reason="because", expected_s=12.5)
    row = stored(begun, 1)
    assert row.state == optuna.trial.TrialState.RUNNING
    assert row.params == dict(fast(begun))
    trial = Study.read(begun.experiment).trial(1)
    assert (trial.reason, trial.expected_s, trial.attempt) == ("because", 12.5, 1)


def test_the_seconds_spent_are_recorded(begun: Study) -> None:
    assert begun.spent_s == 0
    begun.spend(12.5)
    assert Study.read(begun.experiment).spent_s == 12.5


@pytest.mark.parametrize(
    "override",
    [
        "space.runtime=[torch, openvino, onnxruntime]",
        "space.batch_size=[1, 4, 8, 64]",
        "space.threads={low: 1, high: 8}",
        "space.precision=[fp32, bf16]",
        "space.pruning_ratio=[0, 0.25]",
    ],
)
def test_a_space_that_has_grown_keeps_what_was_measured(
    begun: Study, evaluation: EvaluationOf, laptop: Hardware, override: str
) -> None:
    begun.tell(begun.ask(fast(begun)), evaluation(throughput=300.0))
    grown = load_experiment(begun.experiment.path, [override], hardware=laptop)
    study = Study.open(grown, IDENTITY)
    assert [trial.value("throughput") for trial in study.trials()] == [100, 300]
    listed = set(grown.space.enumerate().runnable)
    assert all(trial.configuration in listed for trial in study.trials())
    left = [c for c in listed if c not in {trial.configuration for trial in study.trials()}]
    number = study.ask(left[0])
    study.tell(number, evaluation(throughput=400.0))
    assert study.trial(number).configuration == left[0]


def test_another_baseline_is_refused(begun: Study, laptop: Hardware) -> None:
    other = load_experiment(begun.experiment.path, ["baseline={batch_size: 8}"], hardware=laptop)
    text = refusal(other)
    assert text.startswith("RESULTS compares with runtime=torch")
    assert "but the file's baseline is runtime=torch batch_size=8" in text
    assert text.endswith("start again with --fresh, or under another name")


def test_a_record_of_another_form_is_refused(begun: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunefront.search.study.study.RECORD_FORMAT", "1")
    assert f"record: was {RECORD_FORMAT}, is 1" in refusal(begun.experiment)


def test_results_that_were_finished_but_not_recorded_are_recorded(
    begun: Study, evaluation: EvaluationOf, failure: EvaluationOf
) -> None:
    for _ in range(2):
        begun.ask(fast(begun))
    results = {1: evaluation(throughput=300.0), 2: failure("oom")}
    assert begun.reconcile(results) == []
    assert begun.trial(1).value("throughput") == 300
    assert begun.trial(2).cause == "oom"


def test_what_ended_is_not_settled_again(begun: Study, evaluation: EvaluationOf) -> None:
    before = begun.trials()
    assert begun.reconcile({0: evaluation(throughput=9.0)}) == []
    assert begun.trials() == before


def test_the_confirmation_is_recorded(begun: Study) -> None:
    assert begun.confirmation() == Confirmation()
    rounds = {0: [Round(ratios=[1.0], values={"throughput": 100.5})]}
    confirmation = Confirmation(rounds=rounds, finalists=[0, 3])
    begun.set_confirmation(confirmation)
    read = Study.read(begun.experiment).confirmation()
    assert to_plain(read) == to_plain(confirmation)
