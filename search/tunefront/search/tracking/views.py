"""Saved views of MLflow's page: filters, columns and charts, so that a link shows the result.

MLflow stores a saved view as an experiment tag in an undocumented format. Only this module depends
on it; it is valid from 3.15 on (tested with 3.17). With another major version, or if a view can't
be saved, links use filters instead, which show the same rows.
"""

import base64
import json
import re
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tunefront.spaces.metric import LEVEL_SIGN

if TYPE_CHECKING:
    from mlflow import MlflowClient

OLDEST = (3, 15)
BEFORE = (4, 0)
LONGEST_VIEW_TAG = 20_000
RUN_NAME, CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
"""Columns that MLflow always shows first."""
CREATED_PX = 140
EDGES_PX, NAME_EDGES_PX, ARROW_PX = 26, 84, 18
"""Pixels of a column's margins, of the name column's, and of the sort arrow."""
LETTER_PX, WIDE_PX, NARROW_PX = 7.4, 12.8, 5.0
"""Widths of letters in pixels at 13 px: enough for names in DejaVu Sans, a wide default font."""
WIDE_LETTERS, NARROW_LETTERS = frozenset("mwMW%@"), frozenset("ijlftrI.,:;'|()-/ ")
GENERATED = ("Model metrics", "System metrics", "choice", "seconds")
"""Headings under which MLflow generates a chart for every metric."""
NARROWEST_PX, WIDEST_PX = 64, 420


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """Chart cards below one heading.

    Attributes:
        title: The heading.
        cards: The settings of each chart.
        columns: Number of cards per row.
        height_px: Height of a card in pixels.
    """

    title: str
    cards: Sequence[Mapping[str, Any]]
    columns: int = 2
    height_px: int = 380


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One saved view.

    Attributes:
        key: The view's name in links.
        title: The view's name in the menu.
        filter: MLflow's filter expression.
        order: The sort column.
        ascending: Whether the order is ascending.
        columns: The columns in order, with their widths in pixels.
        names_px: Width of the column of run names in pixels.
        charts: Chart cards by heading.
        mode: The page's mode: table (`TABLE`), charts (`CHART`) or artifacts side by side
            (`ARTIFACT`).
    """

    key: str
    title: str
    filter: str
    order: str
    ascending: bool
    columns: Mapping[str, int]
    names_px: int = 215
    charts: Sequence[Charts] = ()
    mode: str = "TABLE"


def supported(version: str) -> bool:
    """Return whether this version of MLflow uses the format of this module."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and OLDEST <= (int(found[1]), int(found[2])) < BEFORE


def write_views(
    client: "MlflowClient", experiment_id: str, views: Sequence[View], version: str
) -> str:
    """Save the views; the menu lists the newest first, so the first view gets the latest time.

    Args:
        client: A client of MLflow.
        experiment_id: The id of the MLflow experiment.
        views: The views.
        version: The version of the MLflow that shows them; empty if unknown.

    Returns:
        Why links can't use saved views; empty if they can.
    """
    from mlflow.exceptions import MlflowException

    if not supported(version):
        return f"the views for its page are known from 3.15 on, below 4.0; this is {version or '?'}"
    now = int(time.time() * 1000)
    try:
        for age, view in enumerate(views):
            tag = f"mlflow.sharedViewState.{view.key}"
            client.set_experiment_tag(experiment_id, tag, _state(view, now - age))
    except MlflowException as error:
        return f"the views for its page can't be saved: {str(error).splitlines()[0][:200]}"
    return ""


def view_address(experiment_id: str, view: View, *, saved: bool) -> str:
    """Return the view's address relative to MLflow's; with filters only if it is not saved."""
    page = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    mode = "" if view.mode == "TABLE" else f"&compareRunsMode={view.mode}"
    if saved:
        return f"{page}&viewStateShareKey={view.key}{mode}"
    ascending = str(view.ascending).lower()
    return (
        f"{page}&searchFilter={quote(view.filter)}"
        f"&orderByKey={quote(view.order)}&orderByAsc={ascending}{mode}"
    )


def width_px(texts: Sequence[str], edges_px: int = EDGES_PX) -> int:
    """Return the width in pixels of a column that shows these texts in full, within limits."""
    widest = max(map(_letters_px, texts), default=0.0)
    return round(min(max(widest + edges_px, NARROWEST_PX), WIDEST_PX))


def _letters_px(text: str) -> float:
    wide = sum(letter in WIDE_LETTERS for letter in text)
    narrow = sum(letter in NARROW_LETTERS for letter in text)
    return (len(text) - wide - narrow) * LETTER_PX + wide * WIDE_PX + narrow * NARROW_PX


def _state(view: View, now_ms: int) -> str:
    sections = {f"s{place}": charts for place, charts in enumerate(view.charts)}
    widths = {RUN_NAME: view.names_px, CREATED: CREATED_PX, **view.columns}
    if view.order in widths:
        widths[view.order] += ARROW_PX
    state = {
        "searchFilter": view.filter,
        "orderByKey": view.order,
        "orderByAsc": view.ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(view.columns),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [
            card
            for key, charts in sections.items()
            for place, chart in enumerate(charts.cards)
            for card in [_card(f"{key}c{place}", key, chart)]
        ],
        "compareRunSections": [
            *(_section(key, charts.title, charts) for key, charts in sections.items()),
            *(_section(name, name) for name in GENERATED),
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps(
        {
            "name": view.title,
            "createdAt": now_ms,
            "updatedAt": now_ms,
            "state": f"deflate;{packed}",
        }
    )


def _card(uuid: str, section: str, chart: Mapping[str, Any]) -> dict[str, Any]:
    own = {"uuid": uuid, "deleted": False, "isGenerated": False, "metricSectionId": section}
    return {**own, **chart}


def _section(key: str, name: str, charts: Charts | None = None) -> dict[str, object]:
    """Return a section of charts; without charts, a hidden section of those MLflow generates."""
    shown = charts is not None
    layout = {} if charts is None else {"columns": charts.columns, "cardHeight": charts.height_px}
    return {
        "uuid": key,
        "name": name,
        "display": shown,
        "isReordered": shown,
        "deleted": False,
        "isGenerated": not shown,
        **layout,
    }


def logged_name(metric: str) -> str:
    """Return the name of a metric in MLflow, whose names have no `@`: `ttft_ms at 4`."""
    return metric.replace(LEVEL_SIGN, " at ")


def scatter(x: str, y: str) -> Mapping[str, Any]:
    """Return a scatter chart of two metrics."""
    return {
        "type": "SCATTER",
        "xaxis": {"key": logged_name(x), "type": "METRIC"},
        "yaxis": {"key": logged_name(y), "type": "METRIC"},
        "runsCountToCompare": 100,
    }


def parallel(params: Sequence[str], metrics: Sequence[str]) -> Mapping[str, Any]:
    """Return a chart of parallel coordinates; the last metric sets the colour."""
    return {
        "type": "PARALLEL",
        "selectedParams": list(params),
        "selectedMetrics": list(map(logged_name, metrics)),
        "showAllRuns": True,
        "runsCountToCompare": 100,
    }


def difference_chart(baseline_run: str) -> Mapping[str, Any]:
    """Return a chart of differences to the baseline's run."""
    return {
        "type": "DIFFERENCE",
        "compareGroups": ["Model metrics", "Parameters"],
        "showChangeFromBaseline": True,
        "showDifferencesOnly": True,
        "baselineColumnUuid": baseline_run,
        "runsCountToCompare": 10,
    }
