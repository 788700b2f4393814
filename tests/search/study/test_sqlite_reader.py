"""A study read without Optuna says what Optuna says, or leaves it to Optuna."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Experiment
from tunefront.search.study.confirmation import Confirmation
from tunefront.search.study.sqlite_reader import read_study
from tunefront.search.study.storage import Retries, open_study
from tunefront.search.study.study import STUDY_FILE, Study

EvaluationOf = Callable[..., Evaluation]


@pytest.fixture
def study(
    load: Callable[..., Experiment], evaluation: EvaluationOf, failure: EvaluationOf
) -> Study:
    """A baseline, one that failed, one within limits, one under way."""
    found = Study.open(load(), {"model": "a", "machine": "b"})
    runnable = found.experiment.space.enumerate().runnable
    others = [c for c in runnable if c != found.experiment.baseline]
    found.tell(found.ask(found.experiment.baseline, reason="the baseline"), evaluation())
    found.tell(found.ask(others[0], expected_s=3.5), failure())
    found.tell(found.ask(others[1]), evaluation(throughput=300.0))
    found.ask(others[2])
    found.spend(12.5)
    found.set_forecast(7, 0.25)
    found.set_confirmation(Confirmation(rounds={}, finalists=(0,)))
    return found


def test_both_ways_of_reading_say_the_same(study: Study) -> None:
    experiment = study.experiment
    read = read_study(experiment.results / STUDY_FILE, experiment.slug)
    assert read is not None
    retries = Retries(experiment.results / STUDY_FILE, "try again")
    one = Study(experiment, read, retries)
    other = Study(experiment, open_study(experiment.slug, retries), retries)
    assert one.trials() == other.trials()
    assert [trial.status for trial in one.trials()] == ["ok", "failed", "ok", "running"]
    assert one.baseline() == other.baseline()
    for name in ("identity", "search_id", "spent_s", "forecast"):
        assert getattr(one, name) == getattr(other, name)
    assert one.confirmation() == other.confirmation() == Confirmation(rounds={}, finalists=(0,))


def test_what_was_read_can_be_written_to(study: Study) -> None:
    read = Study.read(study.experiment)
    read.spend(20.0)
    assert read.spent_s == 20.0
    assert Study.read(study.experiment).spent_s == 20.0


def test_reading_needs_no_optuna_and_writes_nothing(study: Study) -> None:
    path = study.experiment.results / STUDY_FILE
    before = path.read_bytes()
    program = """
import sys
sys.modules.update(optuna=None, sqlalchemy=None)
from pathlib import Path
from tunefront.search.study.sqlite_reader import read_study
print(len(read_study(Path(sys.argv[1]), sys.argv[2]).trials))
"""
    path.chmod(0o444)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), study.experiment.slug],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "4\n", done.stderr
    assert path.read_bytes() == before


def test_what_is_not_as_expected_is_left_to_optuna(study: Study, tmp_path: Path) -> None:
    path = study.experiment.results / STUDY_FILE
    assert read_study(path, "another") is None
    assert read_study(tmp_path / "nowhere.db", "made-up") is None
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be read as the header of one" * 20)
    assert read_study(text, "made-up") is None
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE trials RENAME COLUMN number TO place")
        connection.commit()
    assert read_study(path, study.experiment.slug) is None


def test_values_that_are_no_json_are_left_to_optuna(study: Study) -> None:
    path = study.experiment.results / STUDY_FILE
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE trial_user_attributes SET value_json = '{' WHERE key = 'reason'")
        connection.commit()
    assert read_study(path, study.experiment.slug) is None
