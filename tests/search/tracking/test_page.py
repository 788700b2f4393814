"""MLflow's real page in a real browser: one link, no clicks, the front with everything about it."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mlflow
import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Result
from tunefront.search.report.front_chart import ROLE_COLOURS
from tunefront.search.results.result import rounded
from tunefront.search.study.study import Study
from tunefront.search.tracking.note import command_of
from tunefront.search.tracking.store import tracking_uri
from tunefront.search.tracking.views import view_address
from tunefront.spaces import Hardware, show

from .conftest import LARGE, MIDDLE, SMALL, Opened, Store, made_up, ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAME = "attributes.`Run Name`"
ROWS = """() => {
  const rows = new Map();
  for (const node of document.querySelectorAll('.ag-row')) {
    const place = Number(node.getAttribute('row-index'));
    const row = rows.get(place) || {};
    for (const cell of node.querySelectorAll('.ag-cell')) {
      row[cell.getAttribute('col-id')] = cell.innerText.trim();
      const run = cell.querySelector('a');
      if (run) row.run = run.innerText.trim();
      const mark = cell.querySelector('[data-testid="experiment-view-table-run-color"]');
      if (mark) row.colour = mark.querySelector('input').value;
      const value = cell.querySelector('.ag-cell-value');
      if (value && value.scrollWidth > value.clientWidth + 1) row.cut = cell.innerText;
    }
    rows.set(place, row);
  }
  return [...rows.entries()].sort((a, b) => a[0] - b[0])
    .map((entry) => entry[1])
    .filter((row) => row.run);
}"""
"""Every row of the table that is a run, as it stands there, by column."""
HEADERS = """() => [...document.querySelectorAll('.ag-header-cell[col-id*="`"]')]
  .sort((a, b) => a.getAttribute('aria-colindex') - b.getAttribute('aria-colindex'))
  .map((cell) => {
    const text = cell.querySelector('[data-testid^="sort-header-"]') || cell;
    const [own, room] = [text.getBoundingClientRect(), cell.getBoundingClientRect()];
    return [cell.getAttribute('col-id'), own.right <= room.right];
  })"""
"""Every header, in order, and whether it is seen whole."""


def shortlist_of(result: Result) -> list[int]:
    """The front, the baseline and the defaults, the best of the first objective first."""
    defaults = [t for t in result.trials if t.measured and result.views[t.number].reference]
    chosen = (*result.front.trials, result.trials[0], *defaults)
    trials = {trial.number: trial for trial in chosen}
    first = result.experiment.objectives[0]
    return sorted(trials, key=lambda number: trials[number].cost(first))


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["run"].split()[0]) for row in rows]


def check_rows(page: "Page", result: Result, expected: list[int]) -> list[dict[str, Any]]:
    """The count stands above the table before its rows are drawn."""
    page.wait_for_function(f"(count) => ({ROWS})().length >= count", arg=len(expected))
    rows: list[dict[str, Any]] = page.evaluate(ROWS)
    assert numbers(rows) == expected
    for row, number in zip(rows, expected, strict=True):
        assert row["colour"] == ROLE_COLOURS[result.views[number].role]
    return rows


@pytest.mark.parametrize("count", [MIDDLE, LARGE])
def test_the_printed_link_opens_on_the_front(opened: Opened, store: Store, count: int) -> None:
    result = store.searches[count].result
    expected = shortlist_of(result)
    page = opened(store.links[count], f"{count}-front", len(expected))
    rows = check_rows(page, result, expected)
    objectives = [objective.metric for objective in result.experiment.objectives]
    metrics = [f"metrics.`{n}`" for n in (*objectives, "speedup_x", "memory_saving_x")]
    metrics.append("metrics.`quality_drop`")
    choices = [c.name for c in result.experiment.space.choices if len(c.values) > 1]
    headers = page.evaluate(HEADERS)
    assert [name for name, _ in headers if name != NAME] == [
        "tags.`role`",
        *metrics,
        *(f"params.`{name}`" for name in choices),
    ]
    assert [name for name, whole in headers if not whole] == []
    assert [row["cut"] for row in rows if "cut" in row] == []
    for row, number in zip(rows, expected, strict=True):
        trial = result.trials[number]
        assert row["tags.`role`"] == result.views[number].role_text
        for metric in objectives:
            assert float(row[f"metrics.`{metric}`"]) == rounded(trial.value(metric))
        for choice in choices:
            assert row[f"params.`{choice}`"] == show(trial.configuration[choice])


def test_the_result_is_shown_first_and_the_export_is_one_click_away(
    opened: Opened, store: Store
) -> None:
    result = store.searches[MIDDLE].result
    recommended = result.front.recommended
    assert recommended is not None
    page = opened(store.links[MIDDLE], "note-closed", len(shortlist_of(result)))
    headline = page.get_by_text(result.headline(), exact=True)
    assert headline.is_visible(), "without a click"
    page.wait_for_function("document.querySelector('img[src*=\"front.png\"]').naturalWidth > 0")
    page.locator('[data-component-id="mlflow.experiment.metadata_editor.expand_button"]').click()
    block = page.locator("pre").first
    block.wait_for(state="visible")
    assert block.inner_text().strip() == command_of(recommended, result)
    text = page.locator("body").inner_text()
    for pick in result.front.picks:
        assert command_of(pick.trial, result) in text
    assert re.search(r"4 failed, \d+ configurations skipped", text)
    assert "implied by trial" in text


def test_the_picks_have_a_view(opened: Opened, store: Store) -> None:
    result = store.searches[LARGE].result
    expected = {pick.trial.number for pick in result.front.picks}
    page = opened(view_link(store, LARGE, "picks"), f"{LARGE}-picks", len(expected))
    order = [number for number in shortlist_of(result) if number in expected]
    rows = check_rows(page, result, order)
    for row, number in zip(rows, order, strict=True):
        names = [pick.name for pick in result.front.picks if pick.trial.number == number]
        assert row["tags.`role`"] == ", ".join(names)
        sentence = result.views[number].sentence
        assert row["attributes.`Description`"].startswith(sentence[:40])


def test_all_trials_have_charts(opened: Opened, store: Store) -> None:
    """Of more than a hundred the front comes first, and the view's name says that it is a part."""
    result = store.searches[LARGE].result
    measured = sum(trial.measured for trial in result.trials)
    page = opened(view_link(store, LARGE, "all"), f"{LARGE}-all", 100)
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .scatterlayer').length >= 3")
    for title in ("Trade-offs", "Choices and objectives", "Difference to the baseline"):
        assert page.get_by_text(title, exact=False).first.is_visible()
    page.get_by_text("Show change from baseline").first.wait_for()
    assert page.locator(".js-plotly-plot .scatterlayer .point").count() >= 300, "all runs, thrice"
    for choice in ("runtime", "precision", "quantization_bits", "batch_size", "threads"):
        page.locator("svg").get_by_text(choice, exact=True).first.wait_for()
    front = set(shortlist_of(result))
    assert set(numbers(page.evaluate(ROWS))[: len(front)]) == front
    assert page.get_by_text(f"3 Charts: 100 of {measured}, report: all").first.is_visible()


def test_what_failed_has_a_view_with_causes(opened: Opened, store: Store) -> None:
    result = store.searches[LARGE].result
    lost = [trial.number for trial in result.trials if trial.status == "failed"]
    page = opened(view_link(store, LARGE, "failed"), f"{LARGE}-failed", len(lost))
    rows = check_rows(page, result, lost)
    assert {row["tags.`reason`"] for row in rows} == {"oom: no memory left"}
    assert {row["tags.`stage`"] for row in rows} == {"measure"}


def test_without_views_the_link_filters(opened: Opened, store: Store) -> None:
    """As an MLflow of another major version would have it."""
    link, shown = store.links[SMALL], store.searches[SMALL]
    assert "viewStateShareKey" not in link
    assert shown.written.obstacle == (
        "the views for its page are known from 3.15 on, below 4.0; this is 4.0.0"
    )
    expected = shortlist_of(shown.result)
    page = opened(link, "without-views", len(expected))
    page.locator(".ag-row").nth(len(expected) - 1).wait_for()
    check_rows(page, shown.result, expected)
    assert page.get_by_text(shown.result.headline(), exact=True).is_visible()


def test_a_server_of_the_same_store_is_used_again(store: Store) -> None:
    assert len({link.partition("/#")[0] for link in store.links.values()}) == 1
    assert sum("it is already served" in line for line in store.said) == 2


def test_a_search_that_mlflow_does_not_hold_is_written_first(
    store: Store, laptop: Hardware, evaluation: Callable[..., Evaluation]
) -> None:
    experiment = made_up(store.searches[MIDDLE].result.experiment.path.parent, 1, laptop)
    study = Study.open(experiment, {"test": "yes"})
    study.tell(study.ask(experiment.baseline), evaluation())
    said = ui(experiment, "--port", 1, "--detach", "--no-open")
    assert said[0] == "MLflow has no runs of this search yet; writing them"
    assert said[1].startswith(f"front: {store.address}/#/experiments/")
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(experiment))
    found = client.get_experiment_by_name("made up 1")
    assert found is not None
    assert f"/experiments/{found.experiment_id}/" in said[1]
    assert found.tags["mlflow.note.content"].startswith("**000 torch")


def view_link(store: Store, count: int, key: str) -> str:
    shown = store.searches[count]
    view = next(view for view in shown.written.views(shown.result) if view.key == key)
    return f"{store.address}/{view_address(shown.written.experiment_id, view, saved=True)}"
