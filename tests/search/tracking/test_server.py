"""`tunefront ui` before and after the server: ports, what is left running, the browser."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunefront.search import Experiment
from tunefront.search.study.study import Study
from tunefront.search.tracking import server as ui
from tunefront.search.tracking.address import remember
from tunefront.search.tracking.server import SERVER_FILE, note_server, serve, server_of, stop_server
from tunefront.search.tracking.store import server_uri
from tunefront.search.tracking.views import View
from tunefront.spaces import StudyError, TrackingError

FRONT = View(key="front", title="1", filter="a", order="b", ascending=True, columns={})
SHOW = """
import sys
from tunefront.search.tracking import server
server._show(sys.argv[1], True, print)
"""


@pytest.fixture
def experiment(load: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A search that a store holds, as far as can be told without opening it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = load()
    Study.open(found, {"test": "yes"})
    (found.results.parent / "mlflow.db").touch()
    remember(found, "7", FRONT, saved=True)
    return found


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """One that waits, at the head of a group of its own."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, start_new_session=True) as found:
        yield found
        found.kill()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def serve_quietly(experiment: Experiment, port: int) -> list[str]:
    said: list[str] = []
    serve(experiment, port=port, detach=True, opened=False, on_message=said.append)
    return said


def test_a_taken_port_is_named_and_a_free_one_offered(experiment: Experiment) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            TrackingError, match=rf"port {port} of 127\.0\.0\.1 is taken .* `--port \d+`"
        ) as caught:
            serve_quietly(experiment, port)
    assert f"`--port {port}`" not in str(caught.value)
    assert server_of(experiment) is None


def test_nothing_is_served_before_anything_was_run(load: Callable[..., Experiment]) -> None:
    with pytest.raises(StudyError, match="no record in .*; start with `tunefront run"):
        serve_quietly(load(), free_port())


def test_a_server_that_ends_at_once_is_reported(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TrackingError, match=r"the server ended at once; see .*mlflow\.log"):
        serve_quietly(experiment, free_port())
    assert not (experiment.results.parent / SERVER_FILE).exists()


def test_the_server_imports_nothing_from_the_working_folder(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Uvicorn, which MLflow starts, puts its working folder first on the import path."""
    shown = tmp_path / "shown"
    program = tmp_path / "python"
    words = '"$MLFLOW_BACKEND_STORE_URI" "$@"'
    program.write_text(f'#!/bin/sh\npwd > {shown}; printf "%s\\n" {words} >> {shown}\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackingError, match="the server ended at once"):
        serve_quietly(experiment, free_port())
    folder, address, *arguments = shown.read_text().splitlines()
    assert folder == str(experiment.results.parent)
    assert arguments[:4] == ["-P", "-m", "mlflow", "server"]
    assert address == server_uri(experiment)
    assert address not in arguments, "an address can hold a password"


def test_a_server_that_does_not_come_up_is_ended(
    experiment: Experiment, process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "SERVER_START_S", 0.5)
    monkeypatch.setattr(ui, "_start", lambda *_: process)
    with pytest.raises(TrackingError, match=r"did not come up in 0 s; see .*mlflow\.log"):
        serve_quietly(experiment, free_port())
    assert process.poll() is not None
    assert not (experiment.results.parent / SERVER_FILE).exists()


def test_stop_ends_what_was_left_running(
    experiment: Experiment, process: "subprocess.Popen[bytes]"
) -> None:
    assert stop_server(experiment) == "no server was left running"
    note_server(experiment, process.pid, "http://127.0.0.1:1")
    assert stop_server(experiment) == "server ended"
    assert process.wait(10) != 0
    assert stop_server(experiment) == "no server was left running"


def test_a_process_that_was_given_the_number_later_is_left_alone(
    experiment: Experiment, process: "subprocess.Popen[bytes]"
) -> None:
    note_server(experiment, process.pid, "http://127.0.0.1:1")
    path = experiment.results.parent / SERVER_FILE
    path.write_text(path.read_text().replace('"started": 1', '"started": 0'))
    assert stop_server(experiment) == "no server was left running"
    assert process.poll() is None


@pytest.mark.skipif(sys.platform == "darwin", reason="opens a browser without asking for a screen")
@pytest.mark.parametrize("screen", ["DISPLAY", "WAYLAND_DISPLAY", ""])
def test_the_browser_is_opened_where_there_is_a_screen(tmp_path: Path, screen: str) -> None:
    browser, link = tmp_path / "browser", "http://127.0.0.1:5000/#/experiments/7/runs?a=b&c=d"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    clean = {n: v for n, v in os.environ.items() if n not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment = {**clean, "BROWSER": str(browser), **({screen: ":0"} if screen else {})}
    command = [sys.executable, "-c", SHOW, link]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"front: {link}\n"
    opened = tmp_path / "opened"
    assert opened.is_file() is bool(screen)
    if screen:
        assert opened.read_text() == f"{link}\n"
