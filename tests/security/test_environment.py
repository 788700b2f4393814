"""S7, S8 and S17: secrets of the environment, and the files of processes."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunefront.search import load_experiment
from tunefront.search.cluster.session import (
    UMASK,
    drop_secrets,
    keep_files_private,
    restore_umask,
)
from tunefront.search.tracking import server


def test_variables_that_look_like_secrets_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN"),
        *("OPENAI_API_KEY", "PGPASSWORD", "DB_PASSWD", "CLIENT_SECRET_ID", "MLFLOW_TRACKING_URI"),
    )
    kept = ("RAY_AUTH_TOKEN", "TUNEFRONT_CACHE", "TOKENIZERS_PARALLELISM", "MONKEY")
    for name in (*secrets, *kept):
        monkeypatch.setenv(name, "hunter3")
    drop_secrets()
    assert not set(secrets) & set(os.environ)
    assert set(kept) <= set(os.environ)


@pytest.fixture
def umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(UMASK, "")
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    path.touch()
    return stat.S_IMODE(path.stat().st_mode)


def test_files_of_ray_are_private_and_those_of_trials_are_not(
    umask: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keep_files_private()
    assert mode(tmp_path / "auth_token") == 0o600
    restore_umask()
    assert mode(tmp_path / "result") == 0o644


@pytest.mark.parametrize("named", [False, True])
def test_an_earlier_token_of_ray_becomes_private(
    umask: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere" if named else tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token) if named else "")
    keep_files_private()
    assert mode(token) == 0o600


def test_a_link_in_place_of_the_token_is_left_alone(
    umask: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_text("of somewhere else")
    other.chmod(0o644)
    link.symlink_to(other)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(link))
    keep_files_private()
    assert mode(other) == 0o644


def test_a_worker_of_another_node_keeps_its_mask(
    umask: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(UMASK)
    restore_umask()
    assert mode(tmp_path / "result") == 0o644


def test_a_password_is_on_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S17: every user of a machine can read them."""
    uri = "postgresql://user:hunter3@db.example/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "name: tiny\nworkload: {task: causal-lm, model: nowhere, data: nowhere.jsonl}\n"
        "space: {threads: [1]}\nobjectives: {throughput: maximize}\n"
    )
    started: list[tuple[list[str], dict[str, str]]] = []

    def popen(command: list[str], *, env: dict[str, str], **_: object) -> None:
        started.append((command, env))

    monkeypatch.setattr(subprocess, "Popen", popen)
    server._start(load_experiment(path), 5000, tmp_path / "log")
    ((command, environment),) = started
    assert "hunter3" not in " ".join(command)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == uri
