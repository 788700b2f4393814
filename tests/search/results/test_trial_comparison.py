"""Trials side by side: only what differs, ratios to the first, items that differ most first."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from tunefront.evaluators import Evaluation, Sample
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.results.trial_comparison import (
    TrialComparison,
    difference_text,
    item_quality,
)
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.terminal.trial_comparison import (
    comparison_table,
    counted_samples,
    equal_line,
    sample_lines,
    sample_tables,
    trial_comparison_csv,
    trial_comparison_record,
)
from tunefront.search.text import one_line

FIGURES = {"throughput": 100.0, "peak_memory_mb": 500.0, "perplexity": 10.0, "quality_drop": 0.0}
LOSSES = ((1.0, 2.0, 3.0, 4.0), (1.0, 2.5, 3.0, 4.0), (1.001, 2.0, 2.0, 9.0))
"""Of four texts, by three trials; the last text was not judged with the third."""
OUTPUTS = (("a", "b", "c"), ("a", "x", "c"), ("a", "y", "[bold]z[/]"))


def samples(outputs: Sequence[str]) -> list[Sample]:
    return [
        Sample(item=item, input=f"text {item}", output=output, expected=f"the end of {item}")
        for item, output in enumerate(outputs)
    ]


@pytest.fixture
def comparison(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
) -> TrialComparison:
    """The baseline, and two trials that differ from it."""
    configurations = (
        {"runtime": "torch", "batch_size": 1, "threads": 1},
        {"runtime": "openvino", "batch_size": 1, "threads": 1},
        {"runtime": "openvino", "batch_size": 8, "threads": 1},
    )
    trials = []
    for number, losses in enumerate(LOSSES):
        weights = (1.0, 1.0, 1.0, 0.0 if number == 2 else 1.0)
        ended = replace(
            evaluation(),
            items=(losses, weights),
            facts={"weight_bits": 32.0 if number < 2 else 8.0, "waited_s": number, "isa": "x"},
        )
        figures = {**FIGURES, "throughput": 100.0 * (number + 1)}
        made = trial(number, configurations[number], spread=0.1, evaluation=ended, **figures)
        trials.append(made)
    result = result_of(load(), trials, Confirmation(rounds={}))
    known = {number: samples(outputs) for number, outputs in enumerate(OUTPUTS)}
    return TrialComparison(result=result, trials=trials, outputs=known)


def printed(part: object, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_only_what_differs_is_in_the_table(comparison: TrialComparison) -> None:
    text = printed(comparison_table(comparison), 120)
    assert "runtime" in text
    assert "batch_size" in text
    assert "weight_bits" in text
    for same in ("threads", "isa", "waited_s", "peak_memory_mb", "status"):
        assert same not in text
    assert equal_line(comparison) == (
        "the same in all: threads 1, status ok, isa x, peak_memory_mb 500 MB, perplexity 10, "
        "quality_drop 0 %"
    )


def test_values_have_their_interval_and_their_ratio_to_the_first(
    comparison: TrialComparison,
) -> None:
    (row,) = (row for row in comparison.metrics if row.metric.name == "throughput")
    assert [row.ratio(place) for place in range(3)] == [1.0, 2.0, 3.0]
    text = printed(comparison_table(comparison), 120)
    assert "200 (2x higher)" in text
    assert "180 to 220" in text
    assert "(1x" not in text


def test_a_value_that_is_missing_or_not_positive_has_no_ratio(comparison: TrialComparison) -> None:
    base, other, _ = comparison.trials
    failed = replace(other, status="failed", measurements={})
    compared = replace(comparison, trials=[base, failed])
    assert [row.ratio(1) for row in compared.metrics] == [None] * 4
    assert "\n" not in equal_line(compared)
    (drop,) = (row for row in comparison.metrics if row.metric.name == "quality_drop")
    assert drop.ratio(1) is None


def test_items_that_differ_most_come_first(comparison: TrialComparison) -> None:
    assert [(row.item, row.differing) for row in comparison.items] == [(1, 2), (2, 1), (0, 0)]
    swapped = replace(comparison, trials=comparison.trials[::-1])
    assert [(row.item, row.differing) for row in swapped.items] == [(2, 2), (1, 2), (0, 0)]


def test_differences_count_what_both_were_evaluated_on(comparison: TrialComparison) -> None:
    second, third = comparison.differences
    assert (second.differing, second.outputs) == (1, 3)
    assert (second.worse, second.better, second.items) == ([1], [], 4)
    assert (third.differing, third.outputs) == (2, 3)
    assert (third.worse, third.better, third.items) == ([], [2], 3), "0.1 % is no difference"
    assert difference_text(second, comparison.trials[0], comparison.primary) == (
        "001 openvino b1 t1: 1 of 3 outputs differs from 000; perplexity differs by "
        "more than 1 % on 1 of 4 items (1 worse, 0 better)"
    )


def test_hits_that_are_lost_are_worse(
    load: Callable[..., Experiment],
    trial: Callable[..., Trial],
    evaluation: Callable[..., Evaluation],
) -> None:
    text = "workload={task: text-classification, model: nowhere, data: nowhere.jsonl}"
    hits = ((1.0, 0.0, 1.0), (0.0, 1.0, 0.0))
    figures = {"throughput": 1.0, "peak_memory_mb": 1.0, "accuracy": 0.5, "quality_drop": 0.0}
    ended = [evaluation(items=items) for items in hits]
    trials = [trial(number, evaluation=one, **figures) for number, one in enumerate(ended)]
    result = result_of(load(text), trials, Confirmation(rounds={}))
    (found,) = TrialComparison(result=result, trials=trials, outputs={}).differences
    assert (found.worse, found.better, found.items) == ([0, 2], [1], 3)
    assert item_quality(trials[1], 1, result.experiment.primary) == 1.0


def test_quality_of_an_item_is_on_the_metrics_scale(comparison: TrialComparison) -> None:
    base, _, third = comparison.trials
    exp_of_the_loss = item_quality(base, 1, comparison.primary)
    assert item_quality(third, 3, comparison.primary) is None, "not judged"
    assert exp_of_the_loss == pytest.approx(math.exp(2))
    assert item_quality(base, 4, comparison.primary) is None, "no such item"
    assert item_quality(replace(base, evaluation=None), 0, comparison.primary) is None


def test_samples_fit_into_80_columns_and_nothing_is_markup(comparison: TrialComparison) -> None:
    long = [
        replace(s, input="word " * 32, output=f"{s.output} {'x' * 150}") for s in samples("abc")
    ]
    compared = replace(comparison, outputs={**comparison.outputs, 1: long})
    text = "".join(printed(table) for table in sample_tables(compared, 3))
    text += printed(comparison_table(compared))
    assert max(map(len, text.splitlines())) <= 80
    assert "[bold]z[/]" in text
    assert text.count("x") > 300, "nothing is cut"


def test_an_item_shows_what_was_asked_and_a_line_a_trial(comparison: TrialComparison) -> None:
    first, middle, last = (printed(table) for table in sample_tables(comparison, 3))
    assert [" ".join(line.split()) for line in first.splitlines() if line.strip()] == [
        "1 of 3: item 1; 2 of 2 outputs differ",
        "input text 1 perplexity",
        "expected the end of 1",
        "000 torch b1 t1 b 7.39",
        "001 ov b1 t1 x 12.2",
        "002 ov b8 t1 y 7.39",
    ]
    assert middle.count("(the same)") == 1
    assert [" ".join(line.split()) for line in last.splitlines() if line.strip()] == [
        "3 of 3: item 0; 0 of 2 outputs differ",
        "input text 0 perplexity",
        "expected the end of 0",
        "all 3 a 2.72",
    ]
    assert counted_samples(comparison, 2) == "1 more item: --samples 3"
    assert counted_samples(comparison, 3) == ""


def test_right_and_wrong_outputs_are_reported_with_their_score(comparison: TrialComparison) -> None:
    judged = Sample(item=0, input="q", output="d", right=True, score=0.71, score_name="cosine")
    known = {0: [judged], 1: [replace(judged, output="e", right=False, score=0.5)]}
    compared = replace(comparison, trials=comparison.trials[:2], outputs=known)
    (table,) = sample_tables(compared, 5)
    text = " ".join(printed(table).split())
    assert "input q cosine" in text
    assert "d right 0.71" in text
    assert "e wrong 0.5" in text
    alike = {0: [replace(judged, expected="d")], 1: [replace(judged, expected="d")]}
    (table,) = sample_tables(replace(compared, outputs=alike), 5)
    text = " ".join(printed(table).split())
    assert text.endswith("input q cosine all 2 d right 0.71")


def test_where_no_outputs_are_recorded_items_are_compared_by_quality(
    comparison: TrialComparison,
) -> None:
    compared = replace(comparison, outputs={})
    assert [row.item for row in compared.items] == [2, 1]
    messages = sample_lines(compared)
    assert messages[-1].startswith(
        "no outputs are recorded (this workload returns no example outputs"
    )
    (table, _) = sample_tables(compared, 5)
    lines = [" ".join(line.split()) for line in printed(table).splitlines() if line.strip()]
    assert lines[0] == "1 of 2: item 2"
    assert lines[1:3] == ["perplexity", "000 torch b1 t1 20.1"]
    partly = replace(comparison, outputs={0: comparison.outputs[0]})
    messages = sample_lines(partly)
    assert messages[-1] == "no outputs are recorded of 001, 002: they were measured without"
    assert "outputs" not in messages[0].split(": ")[1]


def test_trials_without_items_have_nothing_to_compare(comparison: TrialComparison) -> None:
    bare = [replace(t, evaluation=None) for t in comparison.trials[:2]]
    compared = replace(comparison, trials=bare, outputs={})
    assert compared.items == []
    assert sample_lines(compared)[0] == "001 openvino b1 t1: nothing to compare item by item"


def test_json_holds_everything(comparison: TrialComparison) -> None:
    record = json.loads(json.dumps(trial_comparison_record(comparison), allow_nan=False))
    assert record["compared_with"] == 0
    assert [trial["number"] for trial in record["trials"]] == [0, 1, 2]
    assert record["ratios"]["throughput"] == [1.0, 2.0, 3.0]
    assert record["differences"][0] == {
        "trial": 1,
        "outputs": 3,
        "differing_outputs": 1,
        "items": 4,
        "better": [],
        "worse": [1],
    }
    first = record["items"][0]
    assert (first["item"], first["input"], first["expected"]) == (1, "text 1", "the end of 1")
    assert [answer["output"] for answer in first["outputs"]] == ["b", "x", "y"]
    assert [answer["differs"] for answer in first["outputs"]] == [False, True, True]
    qualities = [answer["quality"] for answer in first["outputs"]]
    assert qualities == pytest.approx([math.exp(2), math.exp(2.5), math.exp(2)], rel=1e-12)


def test_csv_has_a_column_a_trial(comparison: TrialComparison) -> None:
    rows = list(csv.DictReader(io.StringIO(trial_comparison_csv(comparison))))
    found = {(row["kind"], row["name"]): [row["000"], row["001"], row["002"]] for row in rows}
    assert found["choice", "runtime"] == ["torch", "openvino", "openvino"]
    assert found["measurement_low", "throughput"] == ["90.0", "180.0", "270.0"]
    assert found["ratio", "throughput"] == ["1.0", "2.0", "3.0"]
    assert found["input", "item 1"] == ["text 1"] * 3
    assert found["output", "item 1"] == ["b", "x", "y"]
    assert found["quality", "item 1"] == [str(math.exp(x)) for x in (2.0, 2.5, 2.0)]
    assert ("right", "item 1") not in found


def test_line_breaks_are_shown_as_signs() -> None:
    assert one_line("def f():\n    return 1\n") == "def f(): ⏎ return 1 ⏎"
    assert one_line("  ") == "(nothing)"
