"""The report's part of a comparison: the baseline and the picks, item by item, in a browser too."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunefront.evaluators import Sample
from tunefront.search import Result
from tunefront.search.report.data import report_data
from tunefront.search.report.outputs import output_comparison
from tunefront.search.report.page import report_html, write_report
from tunefront.search.study.outputs import write_trial_outputs

from .conftest import RECORD
from .test_page import NASTY

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ITEMS = 6


@pytest.fixture
def samples(result: Result) -> Mapping[int, Sequence[Sample]]:
    """Of the baseline and the picks; the recommended one breaks item 2."""
    numbers = {0, *(pick.trial.number for pick in result.front.picks)}
    recommended = result.front.recommended
    assert recommended is not None
    assert recommended.number != 0
    alike = [
        Sample(item=i, input=f"text {i}", output=f"end\nof {i}", expected="x") for i in range(ITEMS)
    ]
    found = {number: alike for number in numbers}
    found[recommended.number] = [*alike[:2], replace(alike[2], output=NASTY), *alike[3:]]
    return found


def test_items_that_differ_come_first(
    result: Result, samples: Mapping[int, Sequence[Sample]]
) -> None:
    text = output_comparison(result, samples)
    assert text is not None
    assert text["trials"][0] == 0
    assert set(text["trials"]) == set(samples)
    assert [item["item"] for item in text["items"]] == [2, 0, 1, 3, 4, 5]
    assert text["items"][0]["outputs"][0] == "end ⏎ of 2"
    assert len(text["differences"]) == len(text["trials"]) - 1
    assert any("1 of 6 outputs differs from 000" in t for t in text["differences"])


def test_without_outputs_of_two_trials_there_is_no_such_part(
    result: Result, samples: Mapping[int, Sequence[Sample]]
) -> None:
    assert output_comparison(result, {}) is None
    assert output_comparison(result, {0: samples[0]}) is None
    others = {number: found for number, found in samples.items() if number}
    assert output_comparison(result, others) is None, "nothing to compare them with"
    assert report_data(result, RECORD)["outputs"] is None


def test_the_report_next_to_the_record_holds_them(
    result: Result, samples: Mapping[int, Sequence[Sample]]
) -> None:
    own = replace(result, experiment=replace(result.experiment, name="with answers"))
    for number, found in samples.items():
        write_trial_outputs(own.experiment.results, number, found)
    assert "text 5" in write_report(own, RECORD).read_text()


@pytest.fixture
def text_of(browser: "Browser", tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """What a page shows of its answers; nothing is said on the console."""
    said: list[str] = []
    with closing(browser.new_context()) as context:

        def text_of(html: str) -> str:
            path = tmp_path / "report.html"
            path.write_text(html, encoding="utf-8")
            page = context.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(path.as_uri())
            section = page.locator("#outputs")
            return section.inner_text() if section.is_visible() else ""

        yield text_of
    assert said == []


def test_a_browser_shows_them(
    result: Result,
    samples: Mapping[int, Sequence[Sample]],
    text_of: Callable[[str], str],
) -> None:
    text = text_of(report_html(result, RECORD, samples))
    assert "item 2: text 2" in text
    assert " ".join(NASTY.split()) in text
    assert "2 more" in text
    assert "item 5" not in text, "those that differ less are folded away"
    assert text_of(report_html(result, RECORD)) == ""
