"""The keys `workload.load` and `workload.slo` of an experiment, and the metrics they make."""

import re
from pathlib import Path

import pytest

from tunefront.evaluators.interfaces.generation import LoadSpec
from tunefront.search import Experiment, load_experiment
from tunefront.search.experiment.evaluation_settings import settings_of
from tunefront.spaces import ExperimentError, Hardware

TOY = Path(__file__).parents[2] / "extensions" / "toy_engine" / "toy_engine.py"
FILE = f"""\
name: counting
extensions: [{TOY}]
workload: {{task: counting, model: model}}
space: {{runtime: [counter], slots: [1, 2]}}
objectives: {{output_tokens_per_second: maximize, ttft_ms: minimize}}
budget: {{trials: 2}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(FILE)
    return path


def experiment_of(file: Path, laptop: Hardware, *overrides: str) -> Experiment:
    return load_experiment(file, overrides, hardware=laptop)


def refusal(file: Path, laptop: Hardware, *overrides: str) -> str:
    with pytest.raises(ExperimentError) as caught:
        experiment_of(file, laptop, *overrides)
    return re.sub(r"(?m)^\S*/experiment\.yaml", "FILE", str(caught.value))


def test_a_load_and_an_slo_are_part_of_the_workload(file: Path, laptop: Hardware) -> None:
    found = experiment_of(
        file,
        laptop,
        "workload.load={rate: 2, output_tokens: 32}",
        "workload.slo={ttft_ms: 500, tpot_ms: 50}",
    )
    assert found.workload.load == LoadSpec(rate=(2.0,), output_tokens=32)
    assert found.workload.slo == {"ttft_ms": 500.0, "tpot_ms": 50.0}
    assert experiment_of(file, laptop).workload.load is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("workload.load={concurrency: 4, rate: 2}", "but got concurrency 4 and rate 2; keep one"),
        ("workload.load={rate: 0}", "load.rate: must be above 0 requests a second, but got 0"),
        ("workload.load={output_tokens: 0}", "load.output_tokens: must be at least 1, but got 0"),
        ("workload.slo={ttf_ms: 500}", "slo: a request has no 'ttf_ms'; did you mean 'ttft_ms'"),
        ("workload.slo={ttft_ms: -1}", "slo.ttft_ms: must be above 0 ms, but got -1"),
        ("workload.load={rates: 2}", "unknown key; did you mean 'rate'?"),
        ("workload.load={concurrency: many}", "workload.load.concurrency"),
        (
            "workload.load={concurrency: []}",
            "workload.load.concurrency: a number or a list of load levels is needed, but got []",
        ),
        ("workload.load={rate: [2, 2]}", "load.rate: every level can be listed once, but got 2, 2"),
    ],
)
def test_a_wrong_load_is_refused(file: Path, laptop: Hardware, override: str, message: str) -> None:
    assert message in refusal(file, laptop, override)


@pytest.mark.parametrize("section", ["objectives.goodput=maximize", "limits.goodput='>= 1'"])
def test_goodput_needs_an_slo(file: Path, laptop: Hardware, section: str) -> None:
    reason = "it needs limits: add the key workload.slo, such as {ttft_ms: 500, tpot_ms: 50}"
    assert refusal(file, laptop, section).endswith(reason)
    found = experiment_of(file, laptop, section, "workload.slo={ttft_ms: 500}")
    assert found.metrics["goodput"].unit == "requests/s"


def test_the_time_between_tokens_needs_several(file: Path, laptop: Hardware) -> None:
    overrides = ("objectives={tpot_ms: minimize}", "workload.load={output_tokens: 1}")
    assert refusal(file, laptop, *overrides).endswith("raise output_tokens")
    assert "tpot_ms" in experiment_of(file, laptop, overrides[0]).metrics


@pytest.mark.parametrize(
    ("key", "value"), [("load", "{concurrency: 2}"), ("slo", "{ttft_ms: 500}")]
)
def test_a_task_of_tensors_has_no_load(
    laptop: Hardware, tmp_path: Path, key: str, value: str
) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(
        f"name: a\nworkload: {{task: causal-lm, model: m, data: d.jsonl, {key}: {value}}}\n"
        "space: {runtime: [torch]}\nobjectives: {throughput: maximize}\nbudget: {trials: 1}\n"
    )
    assert refusal(file, laptop) == (
        f"FILE:2: workload.{key}: only tasks that generate text, and http, have it, but the "
        "task is causal-lm; remove the key"
    )


def test_tokens_and_requests_have_costs(file: Path, laptop: Hardware) -> None:
    found = experiment_of(file, laptop, "price_per_hour=2").metrics
    costs = {name: one.summary for name, one in found.items() if one.kind == "cost"}
    assert set(costs) == {
        f"cost_per_million_{things}" for things in ("output_tokens", "input_tokens", "requests")
    }
    assert costs["cost_per_million_output_tokens"].startswith("price of a million output tokens")


def test_a_percentile_lets_measuring_continue_until_requests_suffice(
    file: Path, laptop: Hardware
) -> None:
    experiment = experiment_of(file, laptop, "objectives={ttft_p99_ms: minimize}")
    assert settings_of(experiment, "abc").protocol.percentiles == {"": 0.99}


LEVELS = (
    "workload.load={concurrency: [4, 1, 16]}",
    "objectives={output_tokens_per_second@16: maximize, ttft_p99_ms@4: minimize}",
)


def test_several_levels_have_metrics_with_their_names(file: Path, laptop: Hardware) -> None:
    experiment = experiment_of(file, laptop, *LEVELS, "price_per_hour=2")
    named = [name for name in experiment.metrics if name.startswith("ttft_ms")]
    assert named == ["ttft_ms@1", "ttft_ms@4", "ttft_ms@16"]
    assert experiment.metrics["ttft_ms@4"].summary.endswith("at load 4")
    assert experiment.metrics["cost_per_million_output_tokens@4"].level == "4"
    assert experiment.metrics["peak_memory_mb"].level == ""
    assert experiment.rate is experiment.metrics["output_tokens_per_second@16"]
    assert settings_of(experiment, "abc").protocol.percentiles == {"4": 0.99}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "objectives={ttft_ms: minimize}",
            "it is measured at several load levels; write ttft_ms@1 or ttft_ms@4 or ttft_ms@16",
        ),
        ("objectives={tpot_ms@8: minimize}", "write tpot_ms@1 or tpot_ms@4 or tpot_ms@16"),
        ("limits={goodput@4: '>= 1'}", "it needs limits: add the key workload.slo"),
        ("limits={itl_p90_ms: '<= 1'}", "write itl_p90_ms@1 or itl_p90_ms@4 or itl_p90_ms@16"),
        ("prefer=ttft_ms", "write ttft_ms@1 or ttft_ms@4 or ttft_ms@16"),
        ("objectives={peak_memory_mb@4: minimize}", "write peak_memory_mb"),
    ],
)
def test_a_metric_without_its_level_is_refused(
    file: Path, laptop: Hardware, override: str, message: str
) -> None:
    assert message in refusal(file, laptop, *LEVELS, override)


def test_a_single_level_has_plain_names(file: Path, laptop: Hardware) -> None:
    single = "workload.load={concurrency: [4]}"
    assert "ttft_ms" in experiment_of(file, laptop, single).metrics
    assert refusal(file, laptop, single, "objectives={ttft_ms@4: minimize}").endswith(
        "it has no load level, or there is a single one; write ttft_ms"
    )
