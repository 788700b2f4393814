"""Views as MLflow's page reads them: versions, links, widths, what happens where they can't be."""

import base64
import json
import zlib
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from tunefront.search.tracking.views import (
    CREATED,
    RUN_NAME,
    Charts,
    View,
    scatter,
    supported,
    view_address,
    width_px,
    write_views,
)

FRONT = View(
    key="front",
    title="1 Front",
    filter="tags.shortlist = 'true'",
    order="metrics.`throughput`",
    ascending=False,
    columns={"tags.`role`": 150, "metrics.`throughput`": 110},
    charts=[Charts(title="Trade-offs", cards=[scatter("a", "b")], columns=1, height_px=300)],
)


class Client:
    """Keeps tags; refuses those of a name."""

    def __init__(self, refused: str = "") -> None:
        self.tags: dict[str, str] = {}
        self.refused = refused

    def set_experiment_tag(self, experiment_id: str, name: str, text: str) -> None:
        if self.refused and name.endswith(self.refused):
            raise MlflowException("no such right\nand more")
        self.tags[name] = text


def state_of(tag: str) -> dict[str, Any]:
    packed = json.loads(tag)["state"].removeprefix("deflate;")
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return found


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("3.14.9", False),
        ("3.15", True),
        ("3.17.2", True),
        ("3.20.0rc1", True),
        ("4.0.0", False),
        ("4", False),
        ("", False),
        ("devel", False),
    ],
)
def test_versions_whose_views_are_known(version: str, known: bool) -> None:
    assert supported(version) is known


def test_a_view_holds_columns_widths_and_charts_by_heading() -> None:
    client: Any = Client()
    assert write_views(client, "7", [FRONT], "3.17.2") == ""
    state = state_of(client.tags["mlflow.sharedViewState.front"])
    assert state["selectedColumns"] == list(FRONT.columns)
    assert state["columnOrder"] == [RUN_NAME, CREATED, *FRONT.columns]
    assert state["columnWidths"]["tags.`role`"] == 150
    assert state["columnWidths"]["metrics.`throughput`"] > 110, "there is an arrow in it"
    shown = [section for section in state["compareRunSections"] if section["display"]]
    assert [(s["name"], s["columns"], s["cardHeight"]) for s in shown] == [("Trade-offs", 1, 300)]
    assert [card["metricSectionId"] for card in state["compareRunCharts"]] == [shown[0]["uuid"]]


def test_another_major_version_gets_no_views() -> None:
    client: Any = Client()
    text = write_views(client, "7", [FRONT], "4.0.0")
    assert text == "the views for its page are known from 3.15 on, below 4.0; this is 4.0.0"
    assert "this is ?" in write_views(client, "7", [FRONT], "")
    assert client.tags == {}


def test_views_that_can_t_be_saved_are_done_without() -> None:
    client: Any = Client(refused="front")
    text = write_views(client, "7", [FRONT], "3.17.2")
    assert text == "the views for its page can't be saved: no such right"


def test_links() -> None:
    assert view_address("7", FRONT, saved=True) == (
        "#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=front"
    )
    assert view_address("7", FRONT, saved=False) == (
        "#/experiments/7/runs?workflowType=machine_learning"
        "&searchFilter=tags.shortlist%20%3D%20%27true%27"
        "&orderByKey=metrics.%60throughput%60&orderByAsc=false"
    )


def test_columns_are_as_wide_as_their_longest_text() -> None:
    assert width_px(["ab"]) < width_px(["ab", "peak_memory_mb"]) < width_px(["x" * 40])
    assert width_px(["x" * 500]) == 420
    assert width_px([]) == 64
