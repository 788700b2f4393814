"""The shape of the file: unknown keys, missing keys, types and ranges, each with its place."""

import re
from collections.abc import Callable

import pytest

from tunefront.search import Experiment
from tunefront.spaces import ExperimentError

Load = Callable[..., Experiment]


def refusal(load: Load, *overrides: str, text: str | None = None) -> str:
    with pytest.raises(ExperimentError) as caught:
        load(*overrides, **({} if text is None else {"text": text}))
    return re.sub(r"(?m)^\S*/experiment\.yaml", "FILE", str(caught.value))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("objective=1", "--set objective: unknown key; did you mean 'objectives'?"),
        ("workload.modle=x", "--set workload.modle: unknown key; did you mean 'model'?"),
        ("budget.trails=3", "--set budget.trails: unknown key; did you mean 'trials'?"),
        ("measurement.secs=3", "--set measurement.secs: unknown key; did you mean 'seconds'?"),
        ("timeouts.zzz=3", "--set timeouts.zzz: unknown key; known: build, measure, quality"),
        ("confirmation.round=3", "--set confirmation.round: unknown key; did you mean 'rounds'?"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(
    load: Load, override: str, expected: str
) -> None:
    assert refusal(load, override) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "workload.task=causal_lm",
            "--set workload.task: unknown value 'causal_lm'; did you mean 'causal-lm'?",
        ),
        ("sampler=nsga", "--set sampler: unknown value 'nsga'; did you mean 'nsga2'?"),
        (
            "sampler=optimal",
            "--set sampler: unknown value 'optimal'; known: ehvi, gp, grid, nsga2, random, tpe",
        ),
        (
            "objectives.throughput=maximise",
            "--set objectives.throughput: unknown value 'maximise'; did you mean 'maximize'?",
        ),
        (
            "workload.direction=up",
            "--set workload.direction: unknown value 'up'; known: maximize, minimize",
        ),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest(
    load: Load, override: str, expected: str
) -> None:
    assert refusal(load, override) == expected


@pytest.mark.parametrize("key", ["name", "workload", "space", "objectives"])
def test_a_key_that_is_needed_is_missed(load: Load, key: str) -> None:
    lines = {
        "name": "name: x",
        "workload": "workload: {task: causal-lm, model: m, data: d}",
        "space": "space: {threads: [1]}",
        "objectives": "objectives: {throughput: maximize}",
    }
    del lines[key]
    message = refusal(load, text="\n".join(lines.values()))
    assert message == f"FILE: {key}: this key is needed, but it is missing"


def test_a_key_that_a_section_needs_is_missed_in_its_line(load: Load) -> None:
    text = "name: x\nworkload:\n  task: causal-lm\nspace: {threads: [1]}\nobjectives: {}\n"
    message = refusal(load, text=text)
    assert message == "FILE:2: workload.model: this key is needed, but it is missing"


def test_all_problems_are_reported_at_once(load: Load) -> None:
    lines = refusal(load, "workload.modle=x", "seed=-1", "sampler=tp").splitlines()
    assert [line.split(": ")[0].removeprefix("--set ") for line in lines] == [
        "workload.modle",
        "sampler",
        "seed",
    ]


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("budget.trials", 1, None),
        ("seed", 0, 2**32 - 1),
        ("concurrent_trials", 1, None),
        ("workload.max_length", 2, 1_048_576),
        ("workload.items", 1, None),
        ("measurement.turns", 3, 1000),
        ("measurement.requests", 1, 1000),
        ("confirmation.finalists", 0, 100),
        ("confirmation.rounds", 1, 100),
    ],
)
def test_whole_numbers_have_bounds(load: Load, key: str, low: int, high: int | None) -> None:
    load(f"{key}={low}")
    text = f"{key}: greater than or equal to {low} is needed, but got {low - 1}"
    assert refusal(load, f"{key}={low - 1}").endswith(text)
    if high is not None:
        load(f"{key}={high}")
        text = f"{key}: less than or equal to {high} is needed, but got {high + 1}"
        assert refusal(load, f"{key}={high + 1}").endswith(text)


@pytest.mark.parametrize(
    "key",
    [
        "budget.hours",
        "measurement.seconds",
        "measurement.precision",
        "confirmation.share",
        "price_per_hour",
        "timeouts.build",
        "timeouts.quality",
        "timeouts.measure",
    ],
)
@pytest.mark.parametrize("value", ["0", "-1"])
def test_times_and_shares_are_positive(load: Load, key: str, value: str) -> None:
    load(f"{key}=0.5")
    assert f"{key}: greater than 0 is needed, but got {value}" in refusal(load, f"{key}={value}")


@pytest.mark.parametrize(
    "key",
    [
        "budget.hours",
        "budget.least_gain",
        "measurement.seconds",
        "measurement.wait",
        "price_per_hour",
        "timeouts.build",
    ],
)
@pytest.mark.parametrize(("value", "shown"), [(".inf", "inf"), ("-.inf", "-inf"), (".nan", "nan")])
def test_numbers_are_finite(load: Load, key: str, value: str, shown: str) -> None:
    text = f"{key}: a finite number is needed, but got {shown}"
    assert text in refusal(load, f"{key}={value}")


@pytest.mark.parametrize(
    ("key", "high"), [("budget.hours", 87_600), ("timeouts.build", 315_360_000)]
)
def test_no_step_takes_longer_than_ten_years(load: Load, key: str, high: int) -> None:
    load(f"{key}={high}")
    text = f"{key}: less than or equal to {high} is needed, but got {high + 1}"
    assert refusal(load, f"{key}={high + 1}").endswith(text)


def test_a_long_value_is_cut_in_an_error(load: Load) -> None:
    message = refusal(load, f"budget=[{', '.join(['1'] * 500)}]")
    assert message.endswith(f"is needed, but got {str([1] * 500)[:200]}...")


def test_of_many_problems_some_are_explained(load: Load) -> None:
    lines = refusal(load, *(f"key{number}=1" for number in range(25))).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("--set key0: unknown key")
    assert lines[-1] == "FILE: 5 further problems"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("measurement.seconds=3601", "less than or equal to 3600 is needed, but got 3601"),
        ("measurement.precision=1", "less than 1 is needed, but got 1"),
        ("confirmation.share=1", "less than 1 is needed, but got 1"),
        ("measurement.wait=-1", "greater than or equal to 0 is needed, but got -1"),
        ("measurement.wait=3601", "less than or equal to 3600 is needed, but got 3601"),
        (
            "measurement.reference=5",
            "a valid boolean, unable to interpret input is needed, but got 5",
        ),
        (
            "measurement.early_stop=5",
            "a valid boolean, unable to interpret input is needed, but got 5",
        ),
        ("seed=1.5", "a valid integer, got a number with a fractional part is needed, but got 1.5"),
        ("name=3", "a valid string is needed, but got 3"),
        ("space=[1]", "a valid dictionary is needed, but got [1]"),
        ("objectives=throughput", "a valid dictionary is needed, but got 'throughput'"),
        ("workload.trust_remote_code=5", "a valid boolean, unable to interpret input is needed, "),
    ],
)
def test_what_is_of_another_kind_is_refused(load: Load, override: str, expected: str) -> None:
    assert f"{override.partition('=')[0]}: {expected}" in refusal(load, override)


@pytest.mark.parametrize("override", ["name=''", f"name={'x' * 81}", "workload.model=''"])
def test_a_name_has_some_characters_but_not_too_many(load: Load, override: str) -> None:
    assert re.search(r": .*at (least|most) \d+ character", refusal(load, override))


@pytest.mark.parametrize("metric", ["Accuracy", "my metric", "1st", "''"])
def test_a_metric_is_named_in_lower_case(load: Load, metric: str) -> None:
    assert "workload.metric: " in refusal(load, f"workload.metric={metric}")


def test_a_key_that_is_no_text_is_refused(load: Load) -> None:
    text = "name: x\nworkload: {task: causal-lm, model: m, data: d}\n"
    message = refusal(load, text=f"{text}space: {{threads: [1]}}\nobjectives: {{}}\n1: 2\n")
    assert message.startswith("FILE:5: 1: ")


def test_a_key_of_the_file_has_its_line_beside_overrides(load: Load) -> None:
    text = "name: x\nworkload: {task: causal-lm, model: m, data: d}\nspace: {threads: [1]}\n"
    message = refusal(load, "seed=-1", text=f"{text}objectives: {{throughput: up}}\n")
    assert message.splitlines() == [
        "FILE:4: objectives.throughput: unknown value 'up'; known: maximize, minimize",
        "--set seed: greater than or equal to 0 is needed, but got -1",
    ]


def test_a_number_that_is_none_is_one_sentence(load: Load) -> None:
    message = refusal(load, "budget.trials=five")
    assert message == "--set budget.trials: a valid integer is needed, but got 'five'"
