"""Which views a search gets, and that its note fits, however many trials there are."""

from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.search import Result, Trial, result_of
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.tracking.default_views import views_of
from tunefront.search.tracking.note import LONGEST_NOTE, Links, front_page
from tunefront.spaces import Hardware

from .conftest import answered, made_up


@pytest.fixture
def small(tmp_path: Path, laptop: Hardware) -> Result:
    return answered(made_up(tmp_path, 60, laptop), 60)


@pytest.fixture
def large(tmp_path: Path, laptop: Hardware) -> Result:
    """A search whose front alone is more than the page shows."""
    found = answered(made_up(tmp_path, 400, laptop), 400)
    trials = [trial for trial in found.trials if trial.status != "infeasible"]
    spread = [stretched(trial, place) for place, trial in enumerate(trials)]
    return result_of(found.experiment, spread, Confirmation())


def stretched(trial: Trial, place: int) -> Trial:
    """The faster, the more memory: nothing beats it."""
    if not trial.measured:
        return trial
    figures = dict(trial.measurements)
    for name, start in (("throughput", 20.0), ("peak_memory_mb", 300.0)):
        value = start + place
        figures[name] = replace(figures[name], value=value, low=value, high=value)
    return replace(trial, measurements=figures)


def titles(result: Result) -> list[str]:
    return [view.title for view in views_of(result, "base")]


def test_a_view_of_a_part_says_so(small: Result, large: Result) -> None:
    assert titles(small) == [
        "1 Front, baseline, defaults",
        "2 Named picks",
        "3 Charts: all trials",
        "4 Failed trials",
    ]
    front = len(large.front.trials)
    measured = sum(trial.measured for trial in large.trials)
    assert front > 100
    assert titles(large)[0] == f"1 Front, baseline, defaults (100 of {front})"
    assert titles(large)[2] == f"3 Charts: 100 of {measured}, report: all"


def test_few_are_sorted_by_the_first_objective_many_begin_with_the_front(
    small: Result, large: Result
) -> None:
    few, many = views_of(small, "base")[2], views_of(large, "base")[2]
    assert (few.order, few.ascending) == ("metrics.`throughput`", False)
    assert (many.order, many.ascending) == ("tags.`shortlist`", False)


def test_every_pair_of_objectives_has_a_chart_and_only_a_baseline_a_difference(
    small: Result,
) -> None:
    charts = {c.title: c.cards for c in views_of(small, "base")[2].charts}
    pairs = [(card["xaxis"]["key"], card["yaxis"]["key"]) for card in charts["Trade-offs"]]
    assert pairs == [
        ("throughput", "peak_memory_mb"),
        ("throughput", "perplexity"),
        ("peak_memory_mb", "perplexity"),
    ]
    (difference,) = charts["Difference to the baseline"]
    assert difference["baselineColumnUuid"] == "base"
    without = {c.title for c in views_of(small, None)[2].charts}
    assert without == {"Trade-offs", "Choices and objectives"}


def test_the_note_fits_however_long_the_front(small: Result, large: Result) -> None:
    for result in (small, large):
        runs = {t.number: f"#/experiments/1/runs/{'f' * 32}" for t in result.trials}
        views = {view.title: "#/x" for view in views_of(result, "base")}
        links = Links(runs=runs, views=views, picture="p.png", report="#/r")
        note = front_page(result, links)
        assert len(note) < LONGEST_NOTE
        assert note.startswith(
            f"**{result.headline()}** ([the whole report](#/r))\n\n    tunefront"
        )
        assert note.rstrip().endswith("after a reload."), "nothing is cut"
        assert "implied by trial" in note
        left = len(result.front.trials) - 25
        assert (f"and {left} trials more on the front" in note) is (left > 0)
