"""Saved views of MLflow's page: filters, columns and charts, so that a link opens on the answer.

MLflow keeps a saved view as an experiment tag of a form that it does not promise. This module alone
knows it, as it is from 3.15 on (tried on 3.17). Of another major version nothing is assumed: there,
and where a view can't be saved, links fall back to filters, which show the same rows.
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

if TYPE_CHECKING:
    from mlflow import MlflowClient

OLDEST = (3, 15)
BEFORE = (4, 0)
LONGEST_VIEW_TAG = 20_000
RUN_NAME, CREATED = "attributes.`Run Name`", "runDateAndNestInfo"
"""Columns that MLflow always shows first."""
CREATED_PX = 140
LETTER_PX, EDGES_PX, NAME_EDGES_PX, ARROW_PX = 7.0, 26, 84, 18
"""Of a column's text: a letter, what surrounds it, and more beside names and in a sorted column."""
GENERATED = ("Model metrics", "System metrics", "choice", "seconds")
"""Headings under which MLflow draws a chart of every metric."""
NARROWEST_PX, WIDEST_PX = 64, 420


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """Chart cards below one heading.

    Attributes:
        title: The heading.
        cards: What is drawn.
        abreast: How many stand side by side.
        height_px: How tall each is.
    """

    title: str
    cards: Sequence[Mapping[str, Any]]
    abreast: int = 2
    height_px: int = 380


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One saved view.

    Attributes:
        key: Its name in links.
        title: Its name in the menu.
        filter: MLflow's filter expression.
        order: The column it is sorted by.
        ascending: The direction.
        columns: The columns shown, in order, and how wide each is, in pixels.
        names_px: How wide the runs' names are.
        charts: Chart cards by heading.
        mode: The page's mode: the table, the charts, or artifacts side by side.
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
    """Whether an MLflow of this version keeps views as this module knows."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and OLDEST <= (int(found[1]), int(found[2])) < BEFORE


def write_views(
    client: "MlflowClient", experiment_id: str, views: Sequence[View], version: str
) -> str:
    """Save the views; the menu lists the newest first, so the first is written last.

    Args:
        client: Of MLflow.
        experiment_id: Where they belong.
        views: The views.
        version: Of the MLflow that shows them; empty where it does not say.

    Returns:
        Why links must do without them; empty where they need not.
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
    """What opens the view, behind MLflow's address; filters alone where it is not saved."""
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
    """How wide a column must be that shows these texts whole."""
    letters = max(map(len, texts), default=0)
    return round(min(max(letters * LETTER_PX + edges_px, NARROWEST_PX), WIDEST_PX))


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
    """Charts of ours below a heading; without any, those that MLflow makes, out of sight."""
    shown = charts is not None
    layout = {} if charts is None else {"columns": charts.abreast, "cardHeight": charts.height_px}
    return {
        "uuid": key,
        "name": name,
        "display": shown,
        "isReordered": shown,
        "deleted": False,
        "isGenerated": not shown,
        **layout,
    }


def scatter(x: str, y: str) -> Mapping[str, Any]:
    """A chart card of two metrics."""
    return {
        "type": "SCATTER",
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
        "runsCountToCompare": 100,
    }


def parallel(params: Sequence[str], metrics: Sequence[str]) -> Mapping[str, Any]:
    """A chart card of parallel coordinates; the last metric colours."""
    return {
        "type": "PARALLEL",
        "selectedParams": list(params),
        "selectedMetrics": list(metrics),
        "showAllRuns": True,
        "runsCountToCompare": 100,
    }


def difference_chart(baseline_run: str) -> Mapping[str, Any]:
    """A chart card of differences to the baseline's run."""
    return {
        "type": "DIFFERENCE",
        "compareGroups": ["Model metrics", "Parameters"],
        "showChangeFromBaseline": True,
        "showDifferencesOnly": True,
        "baselineColumnUuid": baseline_run,
        "runsCountToCompare": 10,
    }
