"""What the report knows: plain JSON values that the page can pick from."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search import Experiment, Result, Trial, result_of
from tunefront.search.report.data import LONGEST_MESSAGE_KEPT, number, report_data
from tunefront.search.study.confirmation import Confirmation

from .conftest import RECORD, Search, failed

NOTHING = Confirmation()


@pytest.fixture(scope="module")
def data(result: Result) -> dict[str, Any]:
    return report_data(result, RECORD)


def test_it_is_plain_json_with_no_number_lost(result: Result, data: dict[str, Any]) -> None:
    again = json.loads(json.dumps(data, allow_nan=False))
    assert again == data
    for trial, row in zip(result.trials, again["trials"], strict=True):
        for name, measurement in trial.measurements.items():
            value, low, high, samples = row["measurements"][name]
            known = measurement.value, measurement.low, measurement.high, measurement.samples
            assert (value, low, high, samples) == known


def test_the_report_shows_the_result_that_the_terminal_shows(
    result: Result, data: dict[str, Any]
) -> None:
    assert data["headline"] == result.headline()
    assert [(p["name"], p["trial"], p["reason"]) for p in data["picks"]] == [
        (pick.name, pick.trial.number, pick.reason) for pick in result.front.picks
    ]
    for trial, row in zip(result.trials, data["trials"], strict=True):
        assert row["name"] == trial.name()
        view = result.view(trial)
        assert row["sentence"] == view.sentence
        assert (row["trust"], row["chance"]) == (view.trust, view.chance)
        assert row.get("unconfirmed", False) == (view.trust == "unconfirmed")
        assert row["status"] == trial.status


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.5, 1.5), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")],
)
def test_what_json_has_no_number_for_is_written_as_javascript_reads_it(
    value: float, expected: float | str
) -> None:
    assert number(value) == expected


def test_only_choices_that_vary_are_columns(
    experiment: Experiment, search: Search, data: dict[str, Any]
) -> None:
    assert data["choices"] == ["runtime", "precision", "quantization_bits", "batch_size", "threads"]
    torch = [t for t in search() if t.configuration["runtime"] == "torch"]
    torch = [replace(trial, number=place) for place, trial in enumerate(torch)]
    text = report_data(result_of(experiment, torch, NOTHING), {})
    assert "runtime" not in text["choices"]
    assert text["fixed"]["runtime"] == "torch"


def test_failures_are_grouped_and_the_most_frequent_comes_first(
    experiment: Experiment, search: Search
) -> None:
    trials = search()
    trials[5] = failed(trials[5], "another message")
    crash = Evaluation(status="failed", cause="crash", stage="build", message="x" * 5000)
    trials[6] = replace(trials[6], status="failed", measurements={}, evaluation=crash)
    trials[7] = replace(trials[7], status="failed", measurements={}, evaluation=None)
    text = report_data(result_of(experiment, trials, NOTHING), RECORD)
    first, *others = text["failures"]
    assert (first["stage"], first["cause"]) == ("measure", "oom")
    assert first["trials"] == [5, 12, 25, 38, 51]
    assert first["messages"] == 2
    assert [(f["stage"], f["cause"], f["trials"]) for f in others] == [
        ("build", "crash", [6]),
        ("-", "unknown", [7]),
    ]
    assert len(text["trials"][6]["message"]) == LONGEST_MESSAGE_KEPT


def test_inferred_failures_and_what_was_left_out_are_reported(
    result: Result, data: dict[str, Any]
) -> None:
    assert data["inferred_failures"] == [str(failure) for failure in result.inferred_failures] != []
    assert data["space"] == {"configurations": 1024, "runnable": 1000}
    assert data["dropped"] == [
        {"count": 24, "reason": "torch has no such thing", "values": data["dropped"][0]["values"]}
    ]
    assert data["dropped"][0]["values"] == "runtime torch, precision bf16 or fp8"


def test_machine_protocol_and_time_are_reported(data: dict[str, Any]) -> None:
    assert dict(data["machine"])["machine"] == "Made-up CPU, 8 cores"
    protocol = dict(data["protocol"])
    assert protocol["confirmation"].endswith("confirmed: 000, 003, 005")
    assert protocol["budget"] == "60 trials, 8 h"
    assert protocol["unconfirmed"] == "4 of 60 trials"
    assert protocol["predictions"].endswith(" lay within the 90 % interval expected of them")
    assert protocol["saved"].startswith("quality evaluation stopped early in ")
    assert [stage["stage"] for stage in data["stages"]] == [
        "prepare",
        "build",
        "quality",
        "measure",
    ]
    # 59 trials have ended, four of them failed without a stage's seconds.
    assert data["stages"][2] == {"stage": "quality", "seconds": 110.0, "trials": 55}
    assert data["period"] == ["2026-01-01 22:00", "2026-01-01 22:19"]


def test_the_pace_is_what_trials_took_over_what_was_expected(data: dict[str, Any]) -> None:
    pace = data["pace"]
    assert pace["trials"] == 53
    assert pace["median"] == pytest.approx(12.1 / 11, abs=0.001)
    assert pace["low"] <= pace["median"] <= pace["high"]


def test_commands_name_the_file_as_a_shell_reads_it(
    load: Callable[..., Experiment], experiment: Experiment, search: Search
) -> None:
    from pathlib import Path

    odd = replace(experiment, path=Path("my files/it's.yaml"))
    text = report_data(result_of(odd, search(10), NOTHING), {})
    assert text["commands"]["export"] == """tunefront export 'my files/it'"'"'s.yaml'"""
    assert report_data(result_of(load(smoke=True), [], NOTHING), {})["commands"] == {}


@pytest.mark.parametrize("what", ["nothing run", "all failed"])
def test_a_search_without_values_has_a_report(
    experiment: Experiment, search: Search, what: str
) -> None:
    trials = [] if what == "nothing run" else [failed(trial) for trial in search(10)[:9]]
    text = report_data(result_of(experiment, trials, NOTHING), {})
    assert text["picks"] == text["history"] == text["stages"] == []
    assert text["pace"] is None
    assert text["baseline"] is None
    assert json.dumps(text, allow_nan=False)


def test_a_value_that_is_no_number_is_kept_as_such(experiment: Experiment, search: Search) -> None:
    trials = search(10)
    nothing = Measurement(value=math.nan, unit="ms", low=-math.inf, high=math.inf, samples=1)
    figures = {**trials[1].measurements, "latency_ms": nothing}
    trials[1] = replace(trials[1], measurements=figures)
    text = report_data(result_of(experiment, trials, NOTHING), {})
    assert text["trials"][1]["measurements"]["latency_ms"] == ["NaN", "-Infinity", "Infinity", 1]


def test_bars_of_quality_are_those_of_its_change(data: dict[str, Any], result: Result) -> None:
    trial = next(t for t in result.trials if t.measured and t.number)
    drop = trial.measurements["quality_drop"]
    base = result.trials[0].value("perplexity")
    below, above = data["trials"][trial.number]["bars"]["perplexity"]
    assert below == pytest.approx((drop.value - drop.low) * base / 100)
    assert above == pytest.approx((drop.high - drop.value) * base / 100)


def test_trials_need_not_be_measured_all(trial: Callable[..., Trial], load: Any) -> None:
    figures = {"throughput": 1.0, "peak_memory_mb": 1.0, "perplexity": 1.0, "quality_drop": 0.0}
    trials = [trial(0, status="failed"), trial(1, **figures)]
    text = report_data(result_of(load(), trials, NOTHING), {})
    assert text["trials"][1]["gain"] is None
    assert text["picks"][0]["trial"] == 1
