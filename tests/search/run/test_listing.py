"""The searches below a folder."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.search.conftest import FILE as TEXT

from tunefront.evaluators import Evaluation, WorkloadDescription
from tunefront.search import Experiment, load_experiment
from tunefront.search.cli import tunefront
from tunefront.search.results.metadata import archive_record, write_record
from tunefront.search.run.listing import searches_below
from tunefront.search.study.study import STUDY_FILE, Study


@pytest.fixture
def begun(tmp_path: Path, evaluation: Callable[..., Evaluation]) -> Callable[[str], Experiment]:
    """A search of this name with one trial, in a folder of its own."""

    def make(name: str) -> Experiment:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "experiment.yaml").write_text(TEXT.replace("Made up", name))
        experiment = load_experiment(folder)
        study = Study.open(experiment, {"test": "yes"})
        write_record(experiment, experiment.space.enumerate(), WorkloadDescription(fingerprint="f"))
        study.tell(study.ask(experiment.baseline), evaluation())
        return experiment

    return make


def ls(*arguments: str | Path) -> str:
    done = CliRunner().invoke(
        tunefront, ["ls", *map(str, arguments)], catch_exceptions=False, standalone_mode=False
    )
    return done.output


def test_the_one_that_changed_last_is_first(
    begun: Callable[[str], Experiment], tmp_path: Path
) -> None:
    old, new = begun("old"), begun("new")
    os.utime(old.results / STUDY_FILE, (1.0, 1.0))
    found = searches_below(tmp_path)
    assert [search.folder for search in found] == [new.results, old.results]
    assert [search.summary for search in found] == ["000 torch b1 t1: the baseline"] * 2
    text = ls(tmp_path)
    assert "1 of 8 trials (1 ok)" in text
    assert "000 torch b1 t1: the baseline" in text
    fields = json.loads(ls(tmp_path, "--format", "json"))
    assert [entry["search"] for entry in fields] == ["new", "old"]
    assert (fields[0]["trials"], fields[0]["running"]) == (1, False)


def test_a_record_whose_file_is_gone_is_listed_with_that(
    begun: Callable[[str], Experiment], tmp_path: Path
) -> None:
    begun("alone").path.unlink()
    (search,) = searches_below(tmp_path)
    aside = "its experiment file is missing or has another name"
    assert search.summary == f"{aside}: 000 torch b1 t1: the baseline"


def test_a_record_that_was_put_aside_is_listed_as_such(
    begun: Callable[[str], Experiment], tmp_path: Path
) -> None:
    archive_record(begun("again"))
    (search,) = searches_below(tmp_path)
    assert search.summary == "archived by --fresh: 000 torch b1 t1: the baseline"
    assert search.status is not None
    assert search.status.driver is None


def test_a_record_that_can_not_be_read_is_listed_with_that(
    begun: Callable[[str], Experiment], tmp_path: Path
) -> None:
    (begun("broken").results / STUDY_FILE).write_text("not a database")
    (search,) = searches_below(tmp_path)
    assert "can't be opened" in search.summary


def test_where_there_is_none_the_next_step_is_reported(tmp_path: Path) -> None:
    assert f"no search below {tmp_path}; start one with `tunefront run FILE`" in ls(tmp_path)
