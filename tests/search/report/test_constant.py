"""An objective that is the same for every trial: pictures with points and ticks, and that said."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunefront.evaluators import Measurement
from tunefront.search import Experiment, Trial, result_of
from tunefront.search.report.page import report_html
from tunefront.search.study.confirmation import Confirmation

from .conftest import RECORD, Search

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURE = """(pair) => {
  const frame = pair.getBoundingClientRect();
  const seen = (node) => {
    const own = node.getBoundingClientRect();
    return own.left >= frame.left && own.right <= frame.right && own.top >= frame.top;
  };
  const marks = [...pair.querySelectorAll('.mark')];
  const ticks = (end) => [...pair.querySelectorAll(`.tick.${end}`)].map((t) => t.textContent);
  return { points: marks.filter(seen).length, across: ticks('middle'), up: ticks('end') };
}"""


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    with closing(browser.new_page(viewport={"width": 1280, "height": 900})) as page:
        yield page


def with_figure(trial: Trial, metric: str, value: float) -> Trial:
    if not trial.measured:
        return trial
    one = Measurement(value=value, unit="", low=value, high=value, samples=3)
    return replace(trial, measurements={**trial.measurements, metric: one})


@pytest.mark.parametrize(
    ("metric", "noise"), [("throughput", 0.0), ("perplexity", 1e-16), ("throughput", 1e-12)]
)
def test_a_constant_objective_is_drawn(
    experiment: Experiment,
    search: Search,
    page: "Page",
    tmp_path: Path,
    metric: str,
    noise: float,
) -> None:
    """Where it is all but constant, too: the last digits of a float are no scale."""
    trials = [with_figure(t, metric, 10.0 * (1 + noise * (t.number % 7))) for t in search()]
    result = result_of(experiment, trials, Confirmation())
    path = tmp_path / "report.html"
    path.write_text(report_html(result, RECORD), encoding="utf-8")
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    pictures = [pair.evaluate(PICTURE) for pair in page.locator("svg.pair").all()]
    assert len(pictures) == 3
    for picture in pictures:
        assert picture["points"] > 20
        for ticks in (picture["across"], picture["up"]):
            assert len(ticks) >= 2, "an axis that can be read"
            assert len(set(ticks)) == len(ticks), "no figure twice"
    text = f"the same in all {sum(t.measured for t in trials)} measured trials"
    assert text in page.locator("#importance").inner_text()
    assert said == []
