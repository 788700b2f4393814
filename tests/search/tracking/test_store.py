"""The store: made whole or not at all, written by one, asked without patience."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.search.conftest import FILE

from tunefront.search import Experiment, load_experiment
from tunefront.search.tracking.store import (
    artifact_folder,
    check_reachable,
    connect,
    connect_to,
    error_text,
    only_writer,
    server_uri,
    store_name,
    tracking_uri,
)
from tunefront.spaces import Hardware, TrackingError

CONNECT = """
import os, signal, sys, threading
from tunefront.search import load_experiment
from tunefront.search.tracking.store import connect

if len(sys.argv) > 2:
    threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGKILL)).start()
client = connect(load_experiment(sys.argv[1]))
client.create_experiment(f"of {os.getpid()}")
"""


@pytest.fixture
def experiment(load: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return load()


@pytest.fixture
def cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No store was ever made by this user."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))


def process(*arguments: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", CONNECT, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def names(experiment: Experiment) -> list[str]:
    return sorted(found.name for found in connect(experiment).search_experiments())


@pytest.mark.usefixtures("cold")
def test_processes_that_make_a_store_at_once_all_use_it(experiment: Experiment) -> None:
    started = [process(experiment.path) for _ in range(2)]
    for one in started:
        _, said = one.communicate(timeout=300)
        assert one.returncode == 0, said.decode()
    assert names(experiment) == sorted(["Default", *(f"of {one.pid}" for one in started)])
    assert [path.name for path in experiment.results.parent.glob(".mlflow-*")] == []


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("after_s", [2.0, 5.0])
def test_a_store_whose_making_was_killed_is_made_again(
    experiment: Experiment, after_s: float
) -> None:
    killed = process(experiment.path, after_s)
    killed.communicate(timeout=300)
    path = experiment.results.parent / "mlflow.db"
    if path.is_file():  # it was faster
        with sqlite3.connect(path) as database:
            assert database.execute("select count(*) from experiments").fetchone()[0] >= 1
        database.close()
    assert "Default" in names(experiment)


def test_requests_fail_soon_unless_the_user_says_otherwise(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    connect(experiment)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"


def test_a_store_that_is_none_is_reported(experiment: Experiment) -> None:
    path = experiment.results.parent / "mlflow.db"
    path.parent.mkdir(parents=True)
    path.write_text("not a database, but long enough to be looked at as one" * 10)
    with pytest.raises(TrackingError, match=r"^MLflow: sqlite:///.*mlflow.db: .*not a database"):
        connect(experiment)


@pytest.mark.parametrize(
    "name", ["a%20b", "q?x=1#y", 'it\'s "quoted"\n:x', "{x} \u6a21\u578b", "\\d"]
)
def test_any_folder_holds_a_store_with_its_files(
    tmp_path: Path, laptop: Hardware, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    file = tmp_path / name / "experiment.yaml"
    file.parent.mkdir()
    file.write_text(FILE)
    monkeypatch.chdir(file.parent)
    experiment = load_experiment(file, hardware=laptop)
    check_reachable(experiment)
    client = connect(experiment)
    location = artifact_folder(experiment).as_uri()
    run = client.create_run(client.create_experiment("one", artifact_location=location))
    client.log_text(run.info.run_id, "written", "file.txt")
    again = connect_to(tracking_uri(experiment), make=False)
    assert [found.path for found in again.list_artifacts(run.info.run_id)] == ["file.txt"]
    stored = [path.read_text() for path in artifact_folder(experiment).rglob("file.txt")]
    assert stored == ["written"]
    assert (experiment.results.parent / "mlflow.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert store_name(experiment) == f"sqlite:///{experiment.results.parent / 'mlflow.db'}"


def test_a_folder_that_is_not_utf8_is_refused_before_the_search(
    load: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    experiment = replace(load(), record_folder=Path("/a\udcff/results/x"))
    with pytest.raises(TrackingError) as caught:
        check_reachable(experiment)
    assert str(caught.value) == (
        r"MLflow: the path '/a\udcff/results' holds the byte b'\xff', which is not UTF-8; rename "
        "the folder, or set MLFLOW_TRACKING_URI to a file elsewhere"
    )


def test_a_relative_address_is_made_absolute_for_the_server(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a%2520b/x.db")
    assert server_uri(experiment) == f"sqlite+pysqlite:///{tmp_path}/a%2520b/x.db"
    assert store_name(experiment) == f"sqlite:///{tmp_path}/a%20b/x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host")
    assert server_uri(experiment) == "http://me:secret@host"
    assert store_name(experiment) == "http://host"


def test_one_process_writes(experiment: Experiment) -> None:
    with only_writer(experiment):
        pass
    with (
        only_writer(experiment),
        pytest.raises(TrackingError, match="another process writes Made up"),
        only_writer(experiment),
    ):
        pass


def test_errors_in_a_line() -> None:
    refused = RuntimeError("a page of words")
    refused.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert error_text(refused) == "Connection refused"
    late = RuntimeError("a page of words")
    late.__context__ = TimeoutError("timed out")
    assert error_text(late) == "no response in time"
    assert error_text(RuntimeError("one\ntwo")) == "one"
    assert error_text(RuntimeError()) == "RuntimeError"
    assert error_text(RuntimeError("at http://me:secret@host/api")) == "at http://host/api"
    assert error_text(RuntimeError("at sqlite:////me@home/a.db")) == "at sqlite:////me@home/a.db"
    assert error_text(TrackingError("MLflow: said already")) == "said already"


def test_a_password_is_not_told(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"^MLflow: http://127.0.0.1:9: Connection refused$"):
        connect(experiment)


def test_nothing_is_made_where_mlflow_has_a_server(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError):
        connect(experiment)
    assert not (experiment.results.parent / "mlflow.db").exists()
