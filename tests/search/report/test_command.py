"""`tunefront report`: where it writes, and what it says where it can't."""

from html import escape
from pathlib import Path

import pytest
from click.testing import CliRunner

from tunefront.search import Result
from tunefront.search.cli import tunefront
from tunefront.spaces import ExperimentError, StudyError


def report(*arguments: str | Path) -> str:
    done = CliRunner().invoke(
        tunefront, ["report", *map(str, arguments)], catch_exceptions=False, standalone_mode=False
    )
    return done.output


@pytest.fixture
def recorded(result: Result, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The experiment's file, with the made-up result as its record."""
    monkeypatch.setattr(
        "tunefront.search.results.metadata.recorded_result", lambda experiment: result
    )
    return result.experiment.path


def test_it_says_what_it_has_written(recorded: Path, result: Result, tmp_path: Path) -> None:
    named = tmp_path / "new" / "page.html"
    assert report(recorded, "--output", named) == f"{named}\n"
    assert escape(result.headline()) in named.read_text(encoding="utf-8")
    beside = result.experiment.results / "report.html"
    assert report(recorded) == f"{beside}\n"
    assert beside.is_file()


def test_a_file_that_can_not_be_written_is_named(recorded: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        report(recorded, "--output", recorded / "page.html")
    assert str(caught.value).startswith(f"{recorded / 'page.html'} can't be written: ")


def test_a_search_that_was_never_run_has_none(result: Result) -> None:
    with pytest.raises(StudyError, match="no record in .*; start with `tunefront run "):
        report(result.experiment.path)
