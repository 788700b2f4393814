"""The key `confirmation.capacity` and the presets of `workload.slo`."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from tunefront.search import Experiment
from tunefront.search.experiment.objective import Limit
from tunefront.search.terminal.plan import plan_lines
from tunefront.spaces import ExperimentError, Hardware

FILE = """\
name: served
workload:
  task: text-generation
  model: nowhere
  data: nowhere.jsonl
  slo: {ttft_ms: 500, tpot_ms: 50}
space:
  runtime: [transformers]
objectives: {output_tokens_per_second: maximize, peak_memory_mb: minimize}
confirmation: {capacity: rate}
"""
WHY = (
    "capacity is measured for finalists only, by the key confirmation.capacity; in objectives and "
    "limits use goodput, or the metrics of the SLO"
)
Load = Callable[..., Experiment]


@pytest.fixture
def written(load: Load, laptop: Hardware) -> Load:
    """The experiment above on a machine with transformers, with overrides."""
    machine = replace(laptop, libraries={**laptop.libraries, "transformers": "5.3"})
    return lambda *overrides, **more: load(*overrides, text=FILE, hardware=machine, **more)


def refusal(written: Load, *overrides: str) -> str:
    with pytest.raises(ExperimentError) as caught:
        written(*overrides)
    return re.sub(r"(?m)^\S*/experiment\.yaml", "FILE", str(caught.value))


def test_the_capacity_is_a_metric_in_the_unit_of_its_kind(written: Load) -> None:
    rate, concurrency = written(), written("confirmation.capacity=concurrency")
    assert rate.metrics["capacity"].unit == "requests/s"
    assert concurrency.metrics["capacity"].unit == "requests in progress"
    assert "capacity" not in written("confirmation.capacity=null").metrics


def test_a_quick_check_measures_no_capacity(written: Load) -> None:
    assert "capacity" not in written(smoke=True).metrics


@pytest.mark.parametrize("kept", ["rate", "null"])
def test_it_is_no_objective_and_no_limit(written: Load, kept: str) -> None:
    keys = [f"confirmation.capacity={kept}"]
    assert WHY in refusal(written, *keys, "objectives.capacity=maximize")
    assert WHY in refusal(written, *keys, "limits.capacity='>= 10'")


def test_it_is_no_limit_of_a_later_pick(written: Load) -> None:
    with pytest.raises(ExperimentError, match=re.escape(WHY)):
        Limit.parse_expression("capacity>=10", written().metrics)


def test_it_decides_no_running_search(written: Load) -> None:
    assert refusal(written, "prefer=capacity").endswith(
        "prefer: capacity is measured for finalists only; pick by it after the search: tunefront "
        "pick FILE --prefer capacity"
    )


def test_it_needs_limits_of_requests(written: Load) -> None:
    assert refusal(written, "workload.slo={}").endswith(
        "confirmation.capacity: it needs the limits that requests must keep: add the key "
        "workload.slo, such as {ttft_ms: 500, tpot_ms: 50} or mlperf-server or mlperf-interactive"
    )


def test_it_needs_finalists(written: Load) -> None:
    assert refusal(written, "confirmation.finalists=0").endswith(
        "confirmation.capacity: it is measured for finalists only, but confirmation.finalists is "
        "0; raise it"
    )


def test_only_generated_text_has_it(load: Load) -> None:
    with pytest.raises(ExperimentError) as caught:
        load("confirmation.capacity=rate")
    assert str(caught.value).endswith(
        "confirmation.capacity: only tasks that generate text, and http, have a capacity, "
        "but the task is causal-lm; remove the key"
    )


def test_what_grows_is_named(written: Load) -> None:
    assert "confirmation.capacity" in refusal(written, "confirmation.capacity=users")


@pytest.mark.parametrize(
    ("name", "slo"),
    [
        ("mlperf-server", {"ttft_ms": 2000.0, "tpot_ms": 200.0}),
        ("mlperf-interactive", {"ttft_ms": 450.0, "tpot_ms": 40.0}),
    ],
)
def test_limits_have_presets(written: Load, name: str, slo: dict[str, float]) -> None:
    assert written(f"workload.slo={name}").workload.slo == slo


def test_an_unknown_preset_names_the_nearest_one(written: Load) -> None:
    assert refusal(written, "workload.slo=mlperf-servers").endswith(
        "slo: unknown preset 'mlperf-servers'; did you mean 'mlperf-server'?; presets are "
        "mlperf-server and mlperf-interactive, or write limits such as {ttft_ms: 500, tpot_ms: 50}"
    )


def test_the_plan_says_how_long_it_takes(written: Load) -> None:
    experiment = written("confirmation.finalists=3", "confirmation.capacity_seconds=30")
    lines = plan_lines(experiment, experiment.space.enumerate())
    assert (
        "capacity: the largest rate that keeps ttft_ms 500, tpot_ms 50, of the finalists on the "
        "front and the baseline, each in at most 8 probes of 30 s (at most 16 min in all)"
    ) in lines
