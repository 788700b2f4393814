"""The page as a file: whole, small, fetching nothing, breaking on nothing that users write."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tunefront.search import Experiment, Result, result_of
from tunefront.search.report.data import report_data
from tunefront.search.report.front_chart import ROLE_COLOURS
from tunefront.search.report.page import SCRIPTS, data_page, report_html, write_report
from tunefront.search.study.confirmation import Confirmation

from .conftest import RECORD, Search, failed

NASTY = "</script><script>bad()</script><!-- &amp; <b>' \" \u2028 ü"
CLEANED = NASTY.replace("\u2028", "\\u2028")
"""As a failure is recorded: without characters that end lines or are invisible."""
MOST_BYTES = 6_000_000


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture(scope="module")
def page(result: Result) -> str:
    return report_html(result, RECORD)


def data_in(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_result_is_shown_first_even_without_scripts(result: Result, page: str) -> None:
    visible = unescape(page.partition("<main")[0])
    assert result.headline() in visible
    for pick in result.front.picks:
        assert f'<th scope="row">{pick.name}</th>' in visible
        assert pick.reason in visible
    assert "60 trials, 0 beyond the limits" not in visible
    assert "4 failed; compared with the baseline, 000 torch" in visible


def test_the_data_are_in_the_page(result: Result, page: str) -> None:
    assert data_in(page) == report_data(result, RECORD)


def test_nothing_is_fetched(page: str) -> None:
    tags = Tags(page).tags
    references = [
        v for _, attributes in tags for n, v in attributes.items() if n in ("src", "href")
    ]
    assert references == ["data:,"]
    assert not {tag for tag, _ in tags} & {"iframe", "img", "object", "embed", "base"}
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    sources = "".join(
        (files("tunefront.search.report") / "assets" / name).read_text() for name in SCRIPTS
    )
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|localStorage|innerHTML|eval\(", sources)
    assert re.findall(r"https?://[^\"]*", sources) == ["http://www.w3.org/2000/svg"]
    style = (files("tunefront.search.report") / "assets" / "page.css").read_text()
    assert not re.search(r"url\(|@import|transition|animation", style)


def test_the_colours_are_those_of_the_other_pictures(page: str) -> None:
    for role, colour in ROLE_COLOURS.items():
        assert f"--{role}:{colour};" in page


def test_names_that_look_like_tags_break_nothing(experiment: Experiment, search: Search) -> None:
    trials = search(20)
    trials[3] = failed(trials[3], NASTY)
    trials[4] = replace(trials[4], reason=NASTY)
    named = replace(experiment, name=NASTY, path=Path(f"{NASTY}.yaml"))
    record = {**RECORD, "machine": {"summary": NASTY}}
    page = report_html(result_of(named, trials, Confirmation()), record)
    plain = report_html(result_of(experiment, trials, Confirmation()), RECORD)
    assert [tag for tag, _ in Tags(page).tags] == [tag for tag, _ in Tags(plain).tags]
    assert len(Tags(page).scripts) == 2
    text = data_in(page)
    assert text["name"] == NASTY
    assert text["trials"][3]["message"] == CLEANED
    assert dict(text["machine"])["machine"] == NASTY


def test_letters_that_are_none_are_replaced(experiment: Experiment, tmp_path: Path) -> None:
    broken = replace(experiment, name="half a letter: \udc80")
    path = write_report(result_of(broken, [], Confirmation()), {}, tmp_path / "report.html")
    assert "half a letter: ?" in path.read_text(encoding="utf-8")


def test_a_thousand_trials_stay_small(experiment: Experiment, search: Search) -> None:
    result = result_of(experiment, search(1000), Confirmation())
    page = report_html(result, RECORD)
    assert len(page.encode()) < MOST_BYTES
    assert len(data_in(page)["trials"]) == 1000


def test_a_quick_check_says_so_and_offers_no_export(
    load: Callable[..., Experiment], search: Search, experiment: Experiment
) -> None:
    quick = replace(experiment, smoke=True)
    page = report_html(result_of(quick, search(10), Confirmation()), {})
    assert "A quick check: its measurements are not meaningful." in unescape(
        page.partition("<main")[0]
    )
    assert data_in(page)["commands"] == {}


def test_it_is_written_next_to_the_record_or_to_the_given_path(
    result: Result, tmp_path: Path
) -> None:
    beside = write_report(result, RECORD)
    assert beside == result.experiment.results / "report.html"
    named = write_report(result, RECORD, tmp_path / "somewhere" / "else.html")
    assert named.read_text() == beside.read_text()


def test_the_same_result_gives_the_same_page(result: Result, page: str) -> None:
    assert report_html(result, RECORD) == page


def test_nothing_to_recommend_is_reported(experiment: Experiment) -> None:
    text = data_page(report_data(result_of(experiment, [], Confirmation()), {}))
    assert "No recommendation" in text
    assert "nothing has been run" in text
