"""A choice, a runtime, a measure and a task, each in one folder outside the source tree.

An experiment names their files; nothing in the source knows them. The conformance suites run over
them, and a search with all of them goes from the experiment file to MLflow, report and export.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tunefront.evaluators.pipelines.keys import content_of
from tunefront.search import load_experiment, run_search
from tunefront.search.cli import tunefront as cli
from tunefront.search.run.search import RunResult
from tunefront.spaces import ExperimentError

HERE = Path(__file__).parent
TOYS = ("choice", "runtime", "measure", "workload")
EXPERIMENT = """
name: toys
extensions: [{files}]
workload: {{task: addition, model: none}}
space:
  runtime: [torch, numpy]
  zeroed_below: [0.0, 0.001]
  threads: [1]
baseline: {{runtime: torch, zeroed_below: 0.0, threads: 1}}
objectives: {{throughput: maximize, closeness: maximize, page_faults: minimize}}
budget: {{trials: 4}}
sampler: grid
measurement: {{seconds: 0.05, turns: 3, requests: 2, wait: 0}}
confirmation: {{finalists: 0}}
"""
TunefrontCall = Callable[..., Result]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment beside copies of the toys' files."""
    folder = tmp_path_factory.mktemp("toys")
    names = [f"toy_{name}.py" for name in TOYS]
    for name in names:
        shutil.copyfile(HERE / Path(name).stem / name, folder / name)
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT.format(files=", ".join(names)))
    return file


@pytest.fixture(scope="module")
def done(experiment: Path) -> RunResult:
    """The search, run once."""
    return run_search(experiment)


def tunefront(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_conformance_suites_run_over_the_toys(experiment: Path) -> None:
    found = tunefront("doctor", experiment, "--check")
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert all(line.startswith("ok  ") for line in lines)
    subjects = {line[4:].partition(":")[0] for line in lines}
    assert subjects >= {"choice zeroed_below", "runtime numpy (fp32 16)", "workload addition"}


def test_what_they_add_is_listed_with_its_origin(experiment: Path) -> None:
    found = tunefront("doctor", experiment, "--choices").output
    assert "Weights with a smaller absolute value become zero. (from toy_choice.py)" in found
    assert "NumPy, layer by layer (from toy_runtime.py)" in found
    assert "zeroed_below" not in tunefront("doctor", "--choices").output


def test_a_search_with_them_ends_with_a_front(done: RunResult) -> None:
    trials = done.result.trials
    assert [trial.status for trial in trials] == ["ok"] * 4, [
        trial.evaluation and trial.evaluation.message for trial in trials
    ]
    assert {trial.complete["runtime"] for trial in trials} == {"torch", "numpy"}
    zeroed = [trial for trial in trials if trial.complete["zeroed_below"] == 0.001]
    assert len(zeroed) == 2
    for trial in zeroed:
        assert trial.evaluation is not None
        assert trial.evaluation.facts["sparsity"] > 0
    assert all(trial.value("page_faults") > 0 for trial in trials)


def test_mlflow_and_the_report_have_them(done: RunResult) -> None:
    import mlflow

    from tunefront.search.tracking.store import tracking_uri

    client = mlflow.MlflowClient(tracking_uri=tracking_uri(done.result.experiment))
    found = client.get_experiment_by_name("toys")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    chosen = {(r.data.params.get("runtime"), r.data.params.get("zeroed_below")) for r in runs}
    assert ("numpy", "0.001") in chosen
    assert any("page_faults" in run.data.metrics for run in runs)
    report = (done.folder / "report.html").read_text()
    assert "numpy" in report
    assert "page_faults" in report


def test_an_export_carries_the_extension_and_is_verified(
    done: RunResult, experiment: Path, tmp_path: Path
) -> None:
    """The folder has the user's files, and runs without them by its script."""
    number = next(
        t.number
        for t in done.result.trials
        if t.complete["runtime"] == "numpy" and t.complete["zeroed_below"] == 0.001
    )
    folder = tmp_path / "export"
    found = tunefront("export", experiment, str(number), "--output", folder)
    assert found.exit_code == 0, found.output
    record = json.loads((folder / "candidate.json").read_text())
    assert record["extensions"] == [f"extensions/0/toy_{name}.py" for name in TOYS]
    assert "tunefront" not in (folder / "run.py").read_text()
    verified = tunefront("verify", folder)
    assert verified.exit_code == 0, verified.output


def test_a_change_of_an_extension_is_another_candidate(experiment: Path, tmp_path: Path) -> None:
    before = content_of(load_experiment(experiment).workload)
    copy = tmp_path / "copy"
    shutil.copytree(experiment.parent, copy, ignore=shutil.ignore_patterns("results"))
    assert content_of(load_experiment(copy).workload) == before
    with (copy / "toy_runtime.py").open("a") as file:
        file.write("\n# changed\n")
    changed = load_experiment(copy)
    assert content_of(changed.workload) != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("toy_choice.py,", "toy_choicy.py,", "toy_choicy.py is not a Python file"),
        ("task: addition", "task: additon", "unknown value 'additon'; did you mean 'addition'?"),
        ("zeroed_below: [0.0", "zeroed_belov: [0.0", "did you mean 'zeroed_below'?"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(
    experiment: Path, old: str, new: str, message: str, tmp_path: Path
) -> None:
    for name in TOYS:
        shutil.copyfile(experiment.parent / f"toy_{name}.py", tmp_path / f"toy_{name}.py")
    file = tmp_path / "experiment.yaml"
    file.write_text(experiment.read_text().replace(old, new))
    with pytest.raises(ExperimentError) as caught:
        load_experiment(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)
