"""The kept store is what MLflow makes, copied; whatever is wrong with it, a store is made."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import mlflow.store.db.utils
import pytest

from tunefront.search import Experiment
from tunefront.search.tracking.empty_store import copy_empty, empty_store, keep_empty
from tunefront.search.tracking.store import artifact_folder, connect

Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def made(
    load: Callable[..., Experiment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A store that MLflow has made step by step, which was then kept in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNEFRONT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        experiment = load()
        assert not empty_store().exists()
        connect(experiment)
        yield experiment.results.parent / "mlflow.db"


def content(path: Path) -> tuple[list[str], Rows]:
    """How the tables of a database are made, and what is in them."""
    with closing(sqlite3.connect(path)) as database:
        made = database.execute("select sql from sqlite_master where sql is not null").fetchall()
        names = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        rows = {
            str(name): database.execute(f"select * from {name}").fetchall() for (name,) in names
        }
    return sorted(str(sql) for (sql,) in made), rows


def test_the_kept_store_is_what_mlflow_made_but_for_where(made: Path, tmp_path: Path) -> None:
    assert copy_empty(tmp_path / "copy.db")
    schema, rows = content(made)
    copied_schema, copied_rows = content(tmp_path / "copy.db")
    assert copied_schema == schema
    assert [name for name in rows if rows[name] != copied_rows[name]] == ["experiments"]
    assert (len(rows["experiments"]), copied_rows["experiments"]) == (1, [])


def test_the_next_store_is_a_copy_that_knows_its_own_place(
    made: Path,
    load: Callable[..., Experiment],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(engine: object) -> None:
        raise AssertionError("made step by step")

    monkeypatch.setattr(mlflow.store.db.utils, "_initialize_tables", refuse)
    experiment = load()
    client = connect(experiment)
    (default,) = client.search_experiments()
    assert (default.experiment_id, default.name) == ("0", "Default")
    assert default.artifact_location == f"{artifact_folder(experiment).as_uri()}/0"
    assert client.create_experiment("first") == "1"


@pytest.mark.parametrize("damage", ["cut short", "another's", "nothing"])
def test_a_damaged_one_is_not_used_and_made_again(made: Path, tmp_path: Path, damage: str) -> None:
    kept, target = empty_store(), tmp_path / "copy.db"
    whole = kept.read_bytes()
    kept.write_bytes(
        {"cut short": whole[: len(whole) // 2], "another's": b"no database" * 99, "nothing": b""}[
            damage
        ]
    )
    assert not copy_empty(target)
    assert not target.exists()
    keep_empty(made)
    assert copy_empty(target)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_a_cache_that_can_not_be_written_is_no_error(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    keep_empty(made)
    assert not copy_empty(tmp_path / "copy.db")
