"""`tunefront profile`: a user's own model, its record, the files and MLflow, for real."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner, Result
from tests.faults.conftest import small_experiment, variables

from tunefront.evaluators import Evaluation, Isolation, evaluate, profile_candidate
from tunefront.search import Experiment, Trial, load_experiment, recorded_result
from tunefront.search.cli import tunefront
from tunefront.search.profile.run import DATA, PICTURE, TABLE, TRACE, profile_trial
from tunefront.search.results.metadata import recorded_settings, write_record
from tunefront.search.run.preflight import check_workload
from tunefront.search.study.study import Study
from tunefront.search.terminal.profile import profile_lines, profile_tables
from tunefront.search.terminal.tables import print_table
from tunefront.search.tracking.store import only_writer, tracking_uri
from tunefront.spaces import EvaluationError, ExperimentError

from .test_advice import COMPUTE, SMALL


@dataclass(frozen=True)
class Searched:
    """A search of one trial, and what `tunefront profile` answered to it."""

    experiment: Experiment
    first: Result

    def profile(self, *arguments: str) -> Result:
        return profiled(self.experiment.path, *arguments)


def profiled(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        tunefront,
        ["profile", str(path), *arguments],
        catch_exceptions=False,
        standalone_mode=False,
    )


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    """The baseline measured and recorded, then profiled."""
    folder = tmp_path_factory.mktemp("profile")
    before = dict(os.environ)
    os.environ.update(variables(folder))
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    experiment = load_experiment(small_experiment(folder))
    settings, described = check_workload(experiment, lambda line: None)
    study = Study.open(experiment, {"workload": described.fingerprint})
    isolation = Isolation()
    baseline = experiment.space.catalog.complete(experiment.baseline)
    found = evaluate(settings, baseline, isolation, folder / "trial.log")
    isolation.close()
    study.tell(study.ask(experiment.baseline), found)
    write_record(experiment, experiment.space.enumerate(), described)
    yield Searched(experiment, profiled(experiment.path))
    os.environ.clear()
    os.environ.update(before)


def test_it_says_where_the_time_goes(searched: Searched) -> None:
    done = searched.first
    assert done.exit_code == 0, done.output
    assert "by kind of work" in done.stdout
    assert "matmul" in done.stdout
    assert "aten::addmm" in done.stdout
    assert "GFLOP/s (fp32 matrices of " in done.stdout
    assert "(its trial measured " in done.stdout
    assert "under the profiler" in done.stdout
    assert "profiling 000 torch" in done.stderr
    folder = searched.experiment.results / "profiles" / "000"
    assert str(folder) in done.stderr
    assert {path.name for path in folder.iterdir()} == {DATA, PICTURE, TABLE, TRACE}
    assert (folder / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / TRACE).read_text())["traceEvents"]


def test_the_files_are_artifacts_of_the_trial_in_mlflow(searched: Searched) -> None:
    client = mlflow.MlflowClient(tracking_uri=tracking_uri(searched.experiment))
    (experiment,) = (e for e in client.search_experiments() if e.name == "small")
    (run,) = client.search_runs([experiment.experiment_id], "tags.trial = '0'")
    logged = {file.path for file in client.list_artifacts(run.info.run_id, "profile")}
    assert logged == {f"profile/{name}" for name in (DATA, PICTURE, TABLE, TRACE)}
    assert f"/runs/{run.info.run_id}/artifacts/profile" in searched.first.stderr


def test_data_goes_to_stdout_while_another_process_writes_mlflow(searched: Searched) -> None:
    with only_writer(searched.experiment):
        done = searched.profile("baseline", "--format", "json")
    record = json.loads(done.stdout)
    assert record["trial"] == 0
    assert sum(row["self_ms"] for row in record["rows"]) == pytest.approx(record["profiled_ms"])
    assert {part["name"] for part in record["by_module"]} >= {"*"}
    assert "MLflow does not have it: " in done.stderr
    assert "the files stay" in done.stderr
    rows = list(
        csv.DictReader(
            io.StringIO((searched.experiment.results / "profiles" / "000" / TABLE).read_text())
        )
    )
    assert len(rows) == len(record["rows"])
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1)


def test_what_has_no_values_is_refused(
    searched: Searched, trial: Callable[..., Trial], failure: Callable[..., Evaluation]
) -> None:
    result = recorded_result(searched.experiment)
    settings = recorded_settings(searched.experiment)
    failed = replace(trial(3, {"threads": 1}, "failed"), evaluation=failure())
    with pytest.raises(ExperimentError, match="trial 3 failed: only measured trials are profiled"):
        profile_trial(result, failed, settings)
    smoke = replace(result, experiment=replace(searched.experiment, smoke=True))
    with pytest.raises(ExperimentError, match="a quick check is not profiled"):
        profile_trial(smoke, result.trials[0], settings)


def test_what_can_not_be_profiled_leaves_nothing_behind(
    searched: Searched, trial: Callable[..., Trial]
) -> None:
    result = recorded_result(searched.experiment)
    settings = recorded_settings(searched.experiment)
    shared = trial(7, {"runtime": "torch", "tensor_parallel": 2}, throughput=1.0)
    with pytest.raises(EvaluationError, match=r"trial 7 can't be profiled: .* \(unsupported\)"):
        profile_trial(result, shared, settings)
    names = [path.name for path in (searched.experiment.results / "profiles").iterdir()]
    assert names == ["000"]


@pytest.mark.soak
def test_kernels_that_inductor_compiled_are_seen(searched: Searched, tmp_path: Path) -> None:
    catalog = searched.experiment.space.catalog
    chosen = catalog.complete({**searched.experiment.baseline, "runtime": "inductor"})
    isolation = Isolation()
    found = profile_candidate(
        recorded_settings(searched.experiment),
        chosen,
        isolation,
        tmp_path / "log",
        tmp_path / TRACE,
    )
    isolation.close()
    names = {row.operator for row in found.rows}
    assert any("cpp_fused" in name or "addmm" in name for name in names), names
    (matmul,) = (part for part in found.by_kind() if part.name == "matmul")
    assert matmul.flops == found.products["matmul"] == 2 * (32 * 64 + 64 * 16)
    assert tuple(found.notes) == ("modules are not known: what Inductor compiled has none",)
    assert found.by_module() == []


def test_a_profiler_that_takes_much_time_is_reported() -> None:
    slow = replace(SMALL, request_ms=0.5)
    lines = profile_lines(slow, [])
    assert "under the profiler 1 ms (+100 %)" in lines[0]
    assert "small operators appear larger than they are" in lines[1]
    assert lines[-1] == "no choice of the catalogue addresses this"
    assert not any("appear larger" in line for line in profile_lines(SMALL, []))
    assert any("slower than in its trial" in line for line in profile_lines(SMALL, [], 0.5))
    assert not any("slower than in its trial" in line for line in profile_lines(SMALL, [], 0.9))
    above = replace(COMPUTE, roofline=replace(COMPUTE.roofline, peak_gflops=10.0))
    assert any("above the peak" in line for line in profile_lines(above, []))


def test_a_table_of_many_says_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    row = SMALL.rows[0]
    rows = [replace(row, operator=f"op{number}", self_ms=0.05) for number in range(20)]
    for table in profile_tables(replace(SMALL, rows=rows)):
        print_table(table)
    assert "by operators: the first 12 of 20 (the others: 40 %)" in capsys.readouterr().out
