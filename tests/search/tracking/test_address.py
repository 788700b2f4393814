"""What opens the front is remembered by store, and told without MLflow."""

import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tunefront.search import Experiment
from tunefront.search.tracking import address
from tunefront.search.tracking.address import ADDRESS_FILE, front_page_of, remember, shown_by
from tunefront.search.tracking.server import note_server, print_front_link
from tunefront.search.tracking.views import View

FRONT = View(key="front", title="1", filter="a", order="b", ascending=True, columns={})
VIEW = "#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=front"
FILTERS = (
    "#/experiments/7/runs?workflowType=machine_learning&searchFilter=a&orderByKey=b&orderByAsc=true"
)
TOLD = """
import sys
from tunefront.search import load_experiment
from tunefront.search.tracking.server import print_front_link

print_front_link(load_experiment(sys.argv[1]), print)
assert not {"mlflow", "ray", "optuna", "torch", "matplotlib"} & set(sys.modules)
"""


@pytest.fixture
def experiment(load: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = load()
    store = found.results.parent / "mlflow.db"
    store.parent.mkdir(parents=True)
    store.touch()
    return found


def said(experiment: Experiment) -> list[str]:
    lines: list[str] = []
    print_front_link(experiment, lines.append)
    return lines


def test_the_link_and_what_serves_it(experiment: Experiment) -> None:
    assert said(experiment) == []
    remember(experiment, "7", FRONT, saved=True)
    assert said(experiment) == [
        f"front:  http://127.0.0.1:5000/{VIEW}",
        f"        (served by `tunefront ui {experiment.path}`)",
    ]


def test_the_link_needs_no_mlflow(experiment: Experiment) -> None:
    remember(experiment, "7", FRONT, saved=True)
    command = [sys.executable, "-c", TOLD, str(experiment.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert VIEW in done.stdout


def test_the_link_leads_to_the_server_that_runs(experiment: Experiment) -> None:
    remember(experiment, "7", FRONT, saved=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        note_server(experiment, process.pid, "http://127.0.0.1:5999")
        assert said(experiment) == [f"front:  http://127.0.0.1:5999/{VIEW}"]
        process.communicate(b"\n")
    assert "127.0.0.1:5000" in said(experiment)[0], "it has ended"


def test_every_store_has_its_own(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(experiment, "7", FRONT, saved=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host:1/")
    assert front_page_of(experiment) is None
    remember(experiment, "8", FRONT, saved=True)
    assert said(experiment) == [f"front:  http://host:1/{VIEW.replace('/7/', '/8/')}"]
    assert "secret" not in (experiment.results / ADDRESS_FILE).read_text()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert front_page_of(experiment) == VIEW
    Path(experiment.results.parent / "mlflow.db").unlink()
    assert front_page_of(experiment) is None, "a store that is gone shows nothing"


def test_an_mlflow_that_keeps_views_otherwise_gets_filters(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(experiment, "7", FRONT, saved=True)
    monkeypatch.setattr(address, "_installed", lambda: "4.1.0")
    assert front_page_of(experiment) == FILTERS
    remember(experiment, "7", FRONT, saved=False)
    monkeypatch.undo()
    assert front_page_of(experiment) == FILTERS


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_is_none_is_nothing(experiment: Experiment, text: str) -> None:
    (experiment.results).mkdir()
    (experiment.results / ADDRESS_FILE).write_text(text)
    assert front_page_of(experiment) is None


class Version(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/version" else 404)
        self.end_headers()
        self.wfile.write(b"3.99.1")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_says_its_own_version(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown_by(experiment).startswith("3.")
    with HTTPServer(("127.0.0.1", 0), Version) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}/")
        assert shown_by(experiment) == "3.99.1"
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}/hidden")
        assert shown_by(experiment) == ""
