"""The report's picture of latency against throughput over the load levels."""

import json
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search import Experiment, Result, Trial, load_experiment, result_of
from tunefront.search.report.data import report_data
from tunefront.search.report.loads import distribution_charts, load_charts
from tunefront.search.study.confirmation import Confirmation
from tunefront.spaces import Configuration, Hardware

TOY = Path(__file__).parents[2] / "extensions" / "toy_engine" / "toy_engine.py"
FILE = f"""\
name: counting
extensions: [{TOY}]
workload:
  task: counting
  model: model
  load: {{concurrency: [1, 4, 16]}}
  slo: {{ttft_ms: 30}}
space: {{runtime: [counter], slots: [1, 2, 4]}}
objectives: {{output_tokens_per_second@16: maximize}}
budget: {{trials: 3}}
"""
SCRIPT = ("picks", "numbers", "elements", "axes", "loads")
ResultOf = Callable[..., Result]


@pytest.fixture(scope="module")
def result_with(tmp_path_factory: pytest.TempPathFactory, laptop: Hardware) -> ResultOf:
    """A baseline, a trial that is faster at every level, one that is slower at the highest one."""
    file = tmp_path_factory.mktemp("loads") / "experiment.yaml"
    file.write_text(FILE)

    def made(*overrides: str) -> Result:
        experiment = load_experiment(file, overrides, hardware=laptop)
        return result_of(experiment, [_trial(experiment, n) for n in range(3)], Confirmation())

    return made


def _trial(experiment: Experiment, number: int) -> Trial:
    speed = (1.0, 2.0, 0.5)[number]
    figures: dict[str, float] = {}
    for name, metric in experiment.metrics.items():
        level = float(metric.level or 4)
        if metric.reference_rate:
            figures[name] = 100.0 * level**0.5 * speed
        elif metric.plain_name in ("ttft_ms", "tpot_ms"):
            figures[name] = 5.0 * level / speed
    measured = {name: Measurement.exact(value, "") for name, value in figures.items()}
    return Trial(
        number=number,
        configuration=Configuration({"runtime": "counter", "slots": 2**number}),
        catalog=experiment.space.catalog,
        status="ok",
        measurements=measured,
        evaluation=Evaluation(
            status="ok",
            measurements=measured,
            distributions={"ttft_ms@4": ((0, 4.0 / speed), (50, 20.0 / speed), (100, 90.0))},
        ),
    )


def test_the_baseline_and_the_front_have_a_point_at_each_level(result_with: ResultOf) -> None:
    (chart,) = load_charts(result_with())
    assert (chart["metric"], chart["bound"]) == ("ttft_ms", 30.0)
    assert chart["across"] == "output tokens per second, tokens/s (more is better)"
    assert [line["trial"] for line in chart["lines"]] == [0, 1]
    assert chart["lines"][1]["points"] == [
        ["1", 200.0, 2.5],
        ["4", 400.0, 10.0],
        ["16", 800.0, 40.0],
    ]


def test_a_sentence_names_the_level_of_its_speed_up(result_with: ResultOf) -> None:
    sentence = result_with().views[1].sentence
    assert sentence == "2x faster (at load 16)"


def test_without_an_slo_every_latency_that_was_measured_is_drawn(result_with: ResultOf) -> None:
    charts = load_charts(result_with("workload.slo={}"))
    assert [(one["metric"], one["bound"]) for one in charts] == [
        ("ttft_ms", None),
        ("tpot_ms", None),
    ]


def test_one_level_has_no_picture(result_with: ResultOf) -> None:
    single = ("workload.load={concurrency: 4}", "objectives={output_tokens_per_second: maximize}")
    assert load_charts(result_with(*single)) == []


def test_distributions_are_drawn_with_the_slo(result_with: ResultOf) -> None:
    (chart,) = distribution_charts(result_with())
    assert (chart["metric"], chart["bound"]) == ("ttft_ms@4", 30.0)
    assert (chart["across"], chart["up"]) == ("ttft, ms (less is better)", "% at or below")
    assert [line["trial"] for line in chart["lines"]] == [0, 1]
    assert chart["lines"][1]["points"] == [[2.0, 0], [10.0, 50], [90.0, 100]]


PROGRAM = """
class Node {
  constructor(tag) { Object.assign(this, { tag, attributes: {}, children: [] }); }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  append(...nodes) { this.children.push(...nodes); }
  get all() { return [this, ...this.children.flatMap((one) => one.all || [])]; }
  get text() { return this.children.map((one) => one.text ?? one).join(" "); }
}
const document = {
  createElement: (tag) => new Node(tag),
  createElementNS: (space, tag) => new Node(tag),
};
"""
DRAWN = """
const report = JSON.parse(require("fs").readFileSync(0, "utf8"));
const parts = PARTS(report, 500);
const nodes = parts.flatMap((part) => part.all);
const found = nodes.map(({ tag, attributes, text }) => [tag, attributes, text]);
process.stdout.write(JSON.stringify(found));
"""


def drawn_by(function: str, result: Result) -> list[Any]:
    """Tag, attributes and text of every node that a function of the page returns."""
    assets = files("tunefront.search.report") / "assets"
    parts = [(assets / f"{name}.js").read_text() for name in SCRIPT]
    program = "\n".join([PROGRAM, *parts, DRAWN.replace("PARTS", function)])
    report = json.dumps(report_data(result, {}))
    done = subprocess.run(
        ["node", "-e", program], input=report, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr[-500:]
    assert "NaN" not in done.stdout
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js here")
def test_the_page_draws_distributions_with_the_slo(result_with: ResultOf) -> None:
    nodes = drawn_by("distributionParts", result_with())
    curves = [one["class"] for tag, one, _ in nodes if tag == "path" and "curve" in one["class"]]
    assert curves == ["curve baseline", "curve recommended"]
    texts = [text for _, _, text in nodes]
    assert {"SLO 30 ms", "000", "001", "ttft_ms@4"} <= set(texts)
    assert any(text.endswith("50 %") for text in texts)
    slo, *_ = [one["d"] for tag, one, _ in nodes if one.get("class") == "limit"]
    assert "V" in slo


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js here")
def test_the_page_draws_a_line_for_each_trial_and_the_slo(result_with: ResultOf) -> None:
    nodes = drawn_by("loadParts", result_with())
    assert sum(tag == "circle" for tag, *_ in nodes) == 6
    curves = [one["class"] for tag, one, _ in nodes if tag == "path" and "curve" in one["class"]]
    assert curves == ["curve baseline", "curve recommended"]
    texts = [text for _, _, text in nodes]
    assert "SLO 30 ms" in texts
    assert "001 @16" in texts
    assert any(text.endswith("load 4") for text in texts)
    heights = [float(one["cy"]) for tag, one, _ in nodes if tag == "circle"]
    assert heights == sorted(heights[:3], reverse=True) + sorted(heights[3:], reverse=True)
