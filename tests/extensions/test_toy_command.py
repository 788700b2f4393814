"""A command that trains in two processes and reports a curve, from the experiment to the report."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tunefront.search import load_experiment, run_search
from tunefront.search.cli import tunefront as cli
from tunefront.search.run.search import RunResult
from tunefront.spaces import ExperimentError

TOY = Path(__file__).parent / "toy_command" / "toy_command.py"
EXPERIMENT = """
name: command
extensions: [toy_command.py]
workload: {task: line-fitting, model: none}
space:
  steps: [4, 16]
  learning_rate: [0.1, 0.3]
baseline: {steps: 4, learning_rate: 0.1}
objectives: {final_loss: minimize, step_ms: minimize}
budget: {trials: 4}
sampler: grid
confirmation: {finalists: 2, rounds: 2}
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment beside a copy of the toy."""
    folder = tmp_path_factory.mktemp("command")
    shutil.copyfile(TOY, folder / TOY.name)
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT)
    return file


@pytest.fixture(scope="module")
def done(experiment: Path) -> RunResult:
    """The search, run once."""
    return run_search(experiment)


def tunefront(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_conformance_suites_run_over_it(experiment: Path) -> None:
    found = tunefront("doctor", experiment, "--check")
    assert found.exit_code == 0, found.output
    subjects = {line[4:].partition(":")[0] for line in found.output.splitlines()}
    assert subjects == {"choice learning_rate", "choice steps", "pipeline line-fitting"}


def test_every_step_is_on_the_curve(done: RunResult) -> None:
    for trial in done.result.trials:
        assert trial.evaluation is not None
        assert trial.status == "ok", trial.evaluation.message
        curve = trial.evaluation.curves["final_loss"]
        assert [step for step, _ in curve] == list(range(1, trial.complete.integer("steps") + 1))
        losses = [loss for _, loss in curve]
        assert losses == sorted(losses, reverse=True)
        assert trial.evaluation.seconds.keys() >= {"train", "total"}


def test_two_processes_trained_on_half_of_the_data_each(done: RunResult) -> None:
    """The loss is that of gradient descent on all of it."""
    import numpy as np

    x = np.random.default_rng(0).uniform(-1, 1, 64)
    slope = loss = 0.0
    for _ in range(4):
        loss = ((slope * x - 3 * x) ** 2).mean()
        slope -= 0.1 * (2 * (slope * x - 3 * x) * x).mean()
    assert done.result.trials[0].measurements["final_loss"].value > 0
    assert done.result.trials[0].evaluation is not None
    found = done.result.trials[0].evaluation.curves["final_loss"][-1][1]
    assert found == pytest.approx(loss)


def test_confirmation_is_another_seed(done: RunResult) -> None:
    """Rounds train again, so that the loss of a finalist has a range."""
    confirmed = [view for view in done.result.views.values() if view.trust == "confirmed"]
    assert confirmed
    figure = confirmed[0].trial.measurements["final_loss"]
    assert figure.low < figure.high
    assert figure.samples == 2


def test_mlflow_has_the_curve_with_its_steps(done: RunResult) -> None:
    import mlflow

    from tunefront.search.tracking.store import tracking_uri

    client = mlflow.MlflowClient(tracking_uri=tracking_uri(done.result.experiment))
    found = client.get_experiment_by_name("command")
    assert found is not None
    runs = [r for r in client.search_runs([found.experiment_id]) if "steps" in r.data.params]
    assert len(runs) == 4
    for run in runs:
        points = client.get_metric_history(run.info.run_id, "curve/final_loss")
        assert [point.step for point in points] == list(range(1, int(run.data.params["steps"]) + 1))


def test_the_report_draws_the_curves(done: RunResult) -> None:
    import json
    import re

    page = (done.folder / "report.html").read_text()
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    (curve,) = json.loads(found[1])["curves"]
    assert curve["metric"] == "final_loss"
    assert len(curve["lines"]) == 4


def test_export_and_profile_say_that_there_is_none(done: RunResult, experiment: Path) -> None:
    exported = tunefront("export", experiment, "1")
    assert "task line-fitting: its trials have no export" in str(exported.exception)
    profiled = tunefront("profile", experiment, "1")
    assert "trials of task line-fitting have no profile" in str(profiled.exception)


def test_a_choice_that_the_command_does_not_apply_is_refused(
    experiment: Path, tmp_path: Path
) -> None:
    shutil.copyfile(TOY, tmp_path / TOY.name)
    file = tmp_path / "experiment.yaml"
    file.write_text(experiment.read_text().replace("space:", "space:\n  runtime: [torch]"))
    with pytest.raises(ExperimentError) as caught:
        load_experiment(file)
    assert "task line-fitting does not apply this choice; it applies learning_rate, steps" in str(
        caught.value
    )
