"""URLs of sqlite files lead Optuna's and MLflow's SQLAlchemy to the file, whatever its path."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.search.conftest import FILE

from tunefront.evaluators import Evaluation
from tunefront.search import load_experiment
from tunefront.search.study.storage import mlflow_url, optuna_url, sqlite_path
from tunefront.search.study.study import STUDY_FILE, Study
from tunefront.spaces import Hardware

NAMES = (
    "plain",
    "a b",
    "a%20b",
    "100%",
    "q?x=1",
    "c#d",
    'it\'s "quoted"',
    "{SCHEMA_VERSION} {x}",
    "a\nb\\c",
    "me@host:22;[x]",
    "\u6a21\u578b \u00e9",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_url_leads_to_its_file(tmp_path: Path, name: str) -> None:
    from sqlalchemy import create_engine, text

    path = tmp_path / name / "file.db"
    path.parent.mkdir()
    for table, url in (("mlflow", mlflow_url(path)), ("optuna", optuna_url(path).format())):
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(f"create table {table} (x)"))
        engine.dispose()
    assert [found.name for found in tmp_path.iterdir()] == [name]
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("select name from sqlite_master order by name").fetchall()
    assert found == [("mlflow",), ("optuna",)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["/a", "."])
def test_the_path_of_a_url_is_the_path_it_was_made_of(name: str, folder: str) -> None:
    path = Path(folder, name, "file.db")
    assert sqlite_path(mlflow_url(path)) == path


def test_a_path_that_needs_no_escapes_stands_in_the_url_as_it_is() -> None:
    path = Path("/a b/\u6a21\u578b/mlflow.db")
    assert mlflow_url(path) == f"sqlite:///{path}"
    assert mlflow_url(Path("/a%b/c?")) == "sqlite+pysqlite:////a%25b/c%3F"


@pytest.mark.parametrize("url", ["http://x/sqlite:///y", "postgresql://x/y", "/a/b", ""])
def test_other_urls_have_no_path(url: str) -> None:
    assert sqlite_path(url) is None


@pytest.mark.parametrize("name", ["a%20b", "q?x=1#y", "{SCHEMA_VERSION}", "\u6a21\n\"'"])
def test_a_study_lies_in_its_own_folder(
    tmp_path: Path, laptop: Hardware, evaluation: Callable[..., Evaluation], name: str
) -> None:
    file = tmp_path / name / "experiment.yaml"
    file.parent.mkdir()
    file.write_text(FILE)
    experiment = load_experiment(file, hardware=laptop)
    study = Study.open(experiment, {"test": "yes"})
    study.tell(study.ask(experiment.baseline), evaluation())
    assert len(Study.read(experiment).trials()) == 1
    assert (experiment.results / STUDY_FILE).is_file()
    assert [found.name for found in tmp_path.iterdir()] == [name]
