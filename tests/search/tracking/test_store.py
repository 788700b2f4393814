"""The store: made whole or not at all, written by one, asked without patience."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tunefront.search import Experiment
from tunefront.search.tracking.store import connect, error_text, only_writer
from tunefront.spaces import TrackingError

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
    started = [process(experiment.path) for _ in range(3)]
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
