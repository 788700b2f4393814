"""A search read from its record alone: its file changed, gone, incomplete, elsewhere."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.search.conftest import FILE as TEXT

from tunefront.evaluators import Evaluation, WorkloadDescription
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.search import Experiment, load_experiment
from tunefront.search.cli import tunefront
from tunefront.search.results.archive import experiment_of, load_searched, open_search, read_search
from tunefront.search.results.metadata import (
    METADATA_FILE,
    archive_record,
    read_record,
    write_record,
)
from tunefront.search.study.study import Study
from tunefront.spaces import ExperimentError, StudyError, TunefrontError

EvaluationOf = Callable[..., Evaluation]
OVER = ("budget.until=2026-01-01 07:00", "warm_start=/nowhere/experiment.yaml")
"""Laid over a file for a run, and no longer there, or over, in the morning."""


@pytest.fixture
def begun(tmp_path: Path, evaluation: EvaluationOf) -> Callable[..., Experiment]:
    """A search with a baseline and a trial that is so many times faster."""

    def make(name: str, factor: float = 3.0, text: str = TEXT) -> Experiment:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "experiment.yaml").write_text(text)
        experiment = load_experiment(folder)
        study = Study.open(experiment, {"test": "yes"})
        write_record(experiment, experiment.space.enumerate(), WorkloadDescription(fingerprint="f"))
        study.tell(study.ask(experiment.baseline), evaluation())
        other = next(c for c in experiment.space.enumerate().runnable if c != experiment.baseline)
        study.tell(study.ask(other), evaluation(throughput=factor * 100.0))
        return experiment

    return make


def cli(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        tunefront, [*map(str, arguments)], catch_exceptions=False, standalone_mode=False
    )


def change(searched: Experiment, **fields: Any) -> None:
    path = searched.results / METADATA_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_what_was_searched_is_read_from_the_record(begun: Callable[..., Experiment]) -> None:
    experiment = begun("one")
    found = experiment_of(experiment.results)
    for name in ("name", "objectives", "limits", "baseline", "metrics", "protocol", "slug"):
        assert getattr(found, name) == getattr(experiment, name)
    assert found.results == experiment.results
    hardware = found.space.context.hardware
    assert hardware == experiment.space.context.hardware


def test_a_file_that_has_changed_or_is_gone_changes_nothing(
    begun: Callable[..., Experiment],
) -> None:
    experiment = begun("one")
    before = read_search(experiment.path)
    text = TEXT.replace("throughput: maximize", "latency_ms: minimize").replace("5%", "1%")
    experiment.path.write_text(text)
    assert read_search(experiment.path) == before
    experiment.path.write_text("name: Made up\nnothing: else\n")
    assert read_search(experiment.path.parent) == before
    experiment.path.unlink()
    assert read_search(experiment.results) == before
    assert before.result.front.trials[0].value("throughput") == 300.0


def test_the_record_of_another_name_is_refused(begun: Callable[..., Experiment]) -> None:
    """`x v1` and `X_V1` give the same folder."""
    experiment = begun("one", text=TEXT.replace("Made up", "x v1"))
    text = (
        f"{experiment.results} is the record of 'x v1', not of 'X_V1': both names give the same "
        "folder; choose a name that differs in letters or digits, or start again with --fresh"
    )
    experiment.path.write_text(TEXT.replace("Made up", "X_V1"))
    for read in (read_search, load_searched):
        with pytest.raises(StudyError) as caught:
            read(experiment.path)
        assert str(caught.value) == text
    other = load_experiment(experiment.path)
    assert other.results == experiment.results
    archive_record(other)
    assert read_record(other) == {}


def test_a_quick_check_is_not_the_search_of_that_name(begun: Callable[..., Experiment]) -> None:
    experiment = begun("one", text=TEXT.replace("Made up", "x smoke"))
    experiment.path.write_text(TEXT.replace("Made up", "x"))
    with pytest.raises(StudyError, match=r"is the record of 'x smoke', not of 'x \(smoke\)'"):
        read_record(load_experiment(experiment.path, smoke=True))


def test_files_that_only_a_run_needs_may_be_gone(begun: Callable[..., Experiment]) -> None:
    experiment = begun("one")
    written = {
        **experiment.written,
        "prepare": "gone.py",
        "warm_start": "gone.yaml",
        "workload": {**experiment.written["workload"], "data": "${prepared}/data.jsonl"},
        "budget": {"until": "2001-01-01 07:00"},
    }
    change(experiment, experiment=written)
    assert len(read_search(experiment.results).result.trials) == 2


def test_the_machine_is_read_from_its_fields_whatever_its_summary_says(
    begun: Callable[..., Experiment],
) -> None:
    experiment = begun("one")
    machine = json.loads((experiment.results / METADATA_FILE).read_text())["machine"]
    change(experiment, machine={**machine, "cores": 1, "summary": "Small CPU, 1 core, 2 GiB"})
    hardware = experiment_of(experiment.results).space.context.hardware
    assert (hardware.cores, hardware.memory_mb) == (1, machine["memory_mb"])
    assert "1 core," in hardware.summary()


def test_what_a_record_does_not_say_is_named(begun: Callable[..., Experiment]) -> None:
    experiment = begun("one")
    record = json.loads((experiment.results / METADATA_FILE).read_text())
    del record["experiment"]
    (experiment.results / METADATA_FILE).write_text(json.dumps(record))
    with pytest.raises(StudyError, match="lacks 'experiment': it is incomplete"):
        read_search(experiment.results)
    change(experiment, experiment={}, machine={**record["machine"], "cpu": "x"})
    with pytest.raises(StudyError, match="the experiment can't be read"):
        read_search(experiment.results)
    change(experiment, machine={"summary": "a toaster"})
    with pytest.raises(StudyError, match="lacks 'cpu'"):
        read_search(experiment.results)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "can't be read"), ("[]", "keys and values are needed, but got list")],
)
def test_what_is_no_record_is_refused(
    begun: Callable[..., Experiment], text: str, expected: str
) -> None:
    experiment = begun("one")
    (experiment.results / METADATA_FILE).write_text(text)
    with pytest.raises(StudyError, match=expected):
        read_search(experiment.results)


def test_a_file_that_was_never_run_has_no_record(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(TEXT)
    with pytest.raises(StudyError, match="start with `tunefront run"):
        read_search(tmp_path)
    with pytest.raises(ExperimentError, match="does not exist; name an experiment file"):
        read_search(tmp_path / "nowhere")


def test_trials_of_another_form_are_reported(begun: Callable[..., Experiment]) -> None:
    experiment = begun("one")
    with closing(sqlite3.connect(experiment.results / "study.db")) as connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'evaluation'"
        )
        connection.commit()
    with pytest.raises(
        StudyError, match="trial 0 is recorded in format [0-9]+, but this version reads"
    ):
        read_search(experiment.results)


def test_a_record_is_shown_picked_and_compared_without_its_file(
    begun: Callable[..., Experiment],
) -> None:
    experiment = begun("one")
    experiment.path.unlink()
    folder = experiment.results
    assert "recommended" in cli("show", folder).output
    assert "recommended" in cli("pick", folder, "--limit", "quality_drop<=1").output
    assert "300" in cli("compare", folder, "baseline", "1").output
    assert open_search(folder).results == folder


def test_what_was_put_aside_is_compared_with_what_came_after(
    begun: Callable[..., Experiment],
) -> None:
    aside = archive_record(begun("one", 2.0))
    assert aside is not None
    experiment = begun("one", 4.0)
    done = cli("diff", aside, experiment.path)
    text = " ".join(done.output.split())
    assert text.startswith("before Made up (")
    assert "the same: machine, libraries, model and data" in text
    assert "front (001) front (001)" in text
    assert "throughput 200 400 +100 % better" in text
    assert "throughput: 1 better, 0 worse, 1 tied" in text
    record = json.loads(cli("diff", aside, experiment.path, "--format", "json").output)
    assert record["before"]["folder"] == str(aside)
    assert record["same_hardware"]
    rows = cli("diff", aside, experiment.path, "--format", "csv").output.splitlines()
    assert rows[0].startswith("configuration,trial_before,place_before")
    assert len(rows) == 1 + 2 * 2


def test_the_baseline_s_own_change_is_reported(
    begun: Callable[..., Experiment], evaluation: EvaluationOf
) -> None:
    one, other = begun("one"), begun("two")
    slower = json.dumps(to_plain(evaluation(throughput=80.0)))
    with closing(sqlite3.connect(other.results / "study.db")) as connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = 1 "
            "AND key = 'evaluation'",
            (slower,),
        )
        connection.commit()
    text = cli("diff", one.path, other.path).output
    assert (
        "the baseline itself changed, and with it all direct comparisons: throughput -20 %" in text
    )


def test_fronts_of_other_machines_are_compared_by_multiples_of_the_baseline(
    begun: Callable[..., Experiment],
) -> None:
    one, other = begun("one"), begun("two")
    machine = json.loads((other.results / METADATA_FILE).read_text())["machine"]
    change(other, machine={**machine, "fingerprint": "elsewhere", "summary": "Other, 1 core"})
    message = cli("diff", one.path, other.path).output
    assert "other hardware: only multiples are compared" in message
    assert "[elsewhere]" in message
    base = begun("three", text=TEXT + "baseline: {runtime: torch, threads: 2}\n")
    here = cli("diff", one.path, base.path).output
    assert "the baselines differ: values are compared directly" in here
    there = cli("diff", other.path, base.path).output
    assert "no values can be compared, only which configurations are on the fronts" in there


def test_show_names_the_trials_there_are_where_a_word_is_none_of_them(
    begun: Callable[..., Experiment],
) -> None:
    with pytest.raises(ExperimentError, match="trial 'fastst' does not exist.*'fastest'"):
        cli("show", begun("one").path, "fastst")


def test_diff_names_a_search_that_is_not_there(begun: Callable[..., Experiment]) -> None:
    with pytest.raises(TunefrontError, match="nowhere"):
        cli("diff", begun("one").path, "nowhere")


def test_what_was_laid_over_the_file_holds_in_the_morning(
    begun: Callable[..., Experiment],
) -> None:
    """A limit that `run --set` gave decides what is shown and reported, until the next run."""
    experiment = begun("one")
    assert load_searched(experiment.path).limits == experiment.limits
    change(experiment, overrides=["limits.quality_drop=<= 7%"])
    for found in (load_searched(experiment.path), open_search(experiment.path)):
        assert [str(limit) for limit in found.limits] == ["quality_drop <= 7"]
    change(experiment, overrides=["limits.quality_drop=<= 7%", *OVER])
    assert [str(limit) for limit in load_searched(experiment.path).limits] == ["quality_drop <= 7"]
    assert cli("report", experiment.path).exit_code == 0
    page = (experiment.results / "report.html").read_text(encoding="utf-8")
    assert re.search(r"quality_drop (<|&lt;|\\u003c)= 7 %", page)
