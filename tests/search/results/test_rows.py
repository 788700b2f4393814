"""Trials as rows: everything comes back from JSON, and CSV has a cell for everything."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from tunefront.evaluators import Evaluation, Measurement
from tunefront.evaluators.interfaces.polled.capacity import CapacityResult, CapacitySearch
from tunefront.evaluators.isolation.codec import from_plain
from tunefront.search import Experiment, Limit, Result, Trial, result_of
from tunefront.search.results.rows import rows, trial_record, trials_csv, trials_json
from tunefront.search.study.confirmation import Confirmation

TrialOf = Callable[..., Trial]
DROP = Limit(metric="quality_drop", test="<=", bound=5.0)


@pytest.fixture(scope="session")
def result(
    load: Callable[..., Experiment], trial: TrialOf, failure: Callable[..., Evaluation]
) -> Result:
    """A baseline, a trial beyond its limit, a failure, and one under way."""
    figures = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0}
    plain = {"runtime": "torch", "batch_size": 1, "threads": 1}
    trials = [
        trial(0, plain, quality_drop=0.0, spread=0.1, **figures),
        trial(
            1, {**plain, "threads": 2}, "infeasible", broken=(DROP,), quality_drop=9.0, **figures
        ),
        trial(2, {"runtime": "openvino", "batch_size": 8}, "failed", evaluation=failure("timeout")),
        trial(3, plain, "running"),
    ]
    return result_of(load(), trials, Confirmation(rounds={}))


def test_a_record_says_everything_about_a_trial(
    trial: TrialOf, evaluation: Callable[..., Evaluation]
) -> None:
    moment = datetime(2024, 5, 1, 22, 30)
    found = trial_record(
        trial(
            1,
            {"threads": 2},
            "infeasible",
            throughput=100.0,
            evaluation=evaluation(),
            broken=(DROP,),
            started=moment,
        )
    )
    assert (found["number"], found["status"]) == (1, "infeasible")
    assert found["configuration"] == {"threads": 2}
    assert from_plain(Measurement, found["measurements"]["throughput"]).value == 100
    assert found["broken_limits"] == ["quality_drop <= 5"]
    assert found["seconds"] == {"total": 1.0}
    assert found["warnings"] == []
    assert (found["started"], found["ended"]) == ("2024-05-01T22:30:00", None)


def test_a_record_contains_the_warnings(
    trial: TrialOf, evaluation: Callable[..., Evaluation]
) -> None:
    doubted = replace(evaluation(), warnings=("other processes used the cores in 5 of 7 turns",))
    found = trial_record(trial(1, evaluation=doubted))
    assert found["warnings"] == ["other processes used the cores in 5 of 7 turns"]


def test_a_record_says_how_a_trial_failed(result: Result) -> None:
    found = trial_record(result.trials[2])
    lines = (found["cause"], found["stage"], found["message"])
    assert lines == ("timeout", "measure", "no memory left")
    assert found["measurements"] == {}


def test_a_record_of_a_trial_under_way_has_the_same_keys(result: Result) -> None:
    assert trial_record(result.trials[3]).keys() == trial_record(result.trials[0]).keys()


def test_trials_come_back_from_json(result: Result) -> None:
    assert json.loads(trials_json(result)) == [trial_record(t) for t in result.trials]
    assert json.loads(trials_json(result, result.trials[:1])) == [trial_record(result.trials[0])]


def test_the_warnings_of_json_are_those_of_the_view(result: Result) -> None:
    """Such as why a finalist has no capacity, which no evaluation knows."""
    problem = "no probe ended in time"
    searched = CapacityResult(
        search=CapacitySearch(kind="rate", start=1.0, seconds=1.0, limit_s=8.0),
        slo={},
        problem=problem,
    )
    confirmation = Confirmation(rounds={}, capacities={0: searched})
    found = json.loads(trials_json(result_of(result.experiment, result.trials, confirmation)))
    assert found[0]["warnings"] == [f"the capacity was not measured: {problem}"]
    assert found[1]["warnings"] == []


def test_the_header_names_choices_and_values_with_their_ends(result: Result) -> None:
    header, _ = rows(result, result.trials)
    assert header[:5] == ["number", "status", "runtime", "batch_size", "threads"]
    assert header[5:8] == ["throughput", "throughput_low", "throughput_high"]
    assert header[-1] == "cause"
    assert "latency_ms" not in header


def test_only_values_that_some_trial_has_get_a_column(result: Result) -> None:
    header, table = rows(result, result.trials[2:])
    assert header == ["number", "status", "runtime", "batch_size", "threads", "cause"]
    assert table == [
        ["2", "failed", "openvino", "8", "", "timeout"],
        ["3", "running", "torch", "1", "1", ""],
    ]


def test_csv_has_a_row_for_every_trial_and_a_cell_for_everything(result: Result) -> None:
    found = list(csv.DictReader(trials_csv(result).splitlines()))
    assert [row["number"] for row in found] == ["0", "1", "2", "3"]
    assert [row["cause"] for row in found] == ["", "quality_drop <= 5 %", "timeout", ""]
    assert [row["throughput_low"] for row in found] == ["90.0", "100.0", "", ""]
    assert all(None not in row.values() and None not in row for row in found)


def test_values_in_csv_lose_no_digits(result: Result, trial: TrialOf) -> None:
    exact = trial(9, throughput=0.1 + 0.2)
    (found,) = csv.DictReader(trials_csv(result, [exact]).splitlines())
    assert float(found["throughput"]) == 0.1 + 0.2


def test_csv_of_chosen_trials_holds_those_only(result: Result) -> None:
    found = trials_csv(result, result.trials[1:2])
    assert [line.split(",")[0] for line in found.splitlines()] == ["number", "1"]
    assert found.endswith("\n")
