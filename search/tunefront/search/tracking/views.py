"""Saved views of MLflow's page: filters, columns and charts, so that a link opens on the answer.

MLflow keeps a saved view as an experiment tag of a form that it does not promise (tried on 3.15 to
3.17). This module alone knows it; where the version is another, links fall back to filters.
"""

import base64
import importlib.metadata
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from mlflow import MlflowClient

OLDEST = (3, 15)
NEWEST = (4, 0)
LONGEST_TAG = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One saved view.

    Attributes:
        key: Its name in links.
        title: Its name in the menu.
        filter: MLflow's filter expression.
        order: The column it is sorted by.
        ascending: The direction.
        columns: The columns shown, in order.
        charts: Chart cards.
        mode: The page's mode: the table, the charts, or artifacts side by side.
    """

    key: str
    title: str
    filter: str
    order: str
    ascending: bool
    columns: Sequence[str]
    charts: Sequence[Mapping[str, Any]] = ()
    mode: str = "TABLE"


def supported() -> bool:
    """Whether this MLflow keeps views as this module knows."""
    major, minor = importlib.metadata.version("mlflow").split(".")[:2]
    return OLDEST <= (int(major), int(minor)) < NEWEST


def write_views(client: "MlflowClient", experiment_id: str, views: Sequence[View]) -> None:
    """Save the views; the menu lists the newest first, so the first is written last."""
    if not supported():
        return
    now = int(time.time() * 1000)
    for age, view in enumerate(views):
        tag = _tag(view, now - age)
        if len(tag) <= LONGEST_TAG:
            client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{view.key}", tag)


def link(address: str, experiment_id: str, view: View) -> str:
    """The address that opens the view."""
    page = f"{address}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    if supported():
        mode = "" if view.mode == "TABLE" else f"&compareRunsMode={view.mode}"
        return f"{page}&viewStateShareKey={view.key}{mode}"
    ascending = str(view.ascending).lower()
    return (
        f"{page}&searchFilter={quote(view.filter)}"
        f"&orderByKey={quote(view.order)}&orderByAsc={ascending}"
    )


def _tag(view: View, now_ms: int) -> str:
    state = {
        "searchFilter": view.filter,
        "orderByKey": view.order,
        "orderByAsc": view.ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(view.columns),
        "columnOrder": list(view.columns),
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [
            {
                "uuid": f"c{place}",
                "deleted": False,
                "isGenerated": False,
                "metricSectionId": "front",
                **chart,
            }
            for place, chart in enumerate(view.charts)
        ],
        "compareRunSections": [
            _section("front", "Trade-offs", shown=True),
            _section("model", "Model metrics", shown=False),
            _section("system", "System metrics", shown=False),
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


def _section(key: str, name: str, *, shown: bool) -> dict[str, object]:
    return {
        "uuid": key,
        "name": name,
        "display": shown,
        "isReordered": shown,
        "deleted": False,
        "isGenerated": not shown,
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


def difference(baseline_run: str) -> Mapping[str, Any]:
    """A chart card of differences to the baseline's run."""
    return {
        "type": "DIFFERENCE",
        "compareGroups": ["Model metrics", "Parameters"],
        "showChangeFromBaseline": True,
        "showDifferencesOnly": True,
        "baselineColumnUuid": baseline_run,
        "runsCountToCompare": 10,
    }
