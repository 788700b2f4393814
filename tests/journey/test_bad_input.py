"""Bad input is refused before the search starts, with a message that says what to do."""

import json
from pathlib import Path

import pytest
from tests.caches import new_cache

from tunefront.search import load_experiment
from tunefront.search.cluster.session import ray_session
from tunefront.spaces import ClusterError

from .conftest import EXPERIMENT, command, environment, in_process

CUSTOM = """\
name: custom
workload: {task: custom, model: "mine:model", inputs: "mine:inputs", quality: "mine:quality"}
space: {runtime: [torch], batch_size: [1, 2]}
baseline: {runtime: torch, batch_size: 1}
objectives: {throughput: maximize, score: maximize}
budget: {trials: 2}
measurement: {seconds: 0.2, turns: 3, wait: 0, reference: false}
confirmation: {finalists: 0}
"""
MODULE = """\
import numpy as np
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 2)

def inputs(batch_size, count):
    if batch_size == 1:
        raise RuntimeError("no batches of one")
    return [{"input": np.ones((batch_size, 4), dtype=np.float32)} for _ in range(count)]

def quality(run):
    return 1.0

def raises(run):
    raise RuntimeError("the labels are gone")
"""


def run(folder: Path, *arguments: str, **extra: str) -> tuple[int, str]:
    """Exit code and error message of `tunefront run` on the folder's file."""
    variables = {**environment(new_cache(folder / "cache")), **extra}
    done = in_process("run", folder / "experiment.yaml", *arguments, extra=variables)
    return done.returncode, done.stderr


@pytest.fixture
def folder(tmp_path: Path, lm_folder: Path) -> Path:
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT.format(folder=lm_folder))
    return tmp_path


def test_a_bad_row_is_named_by_file_and_line(folder: Path) -> None:
    data = folder / "rows.jsonl"
    data.write_text('{"text": "a line of code"}\n{"txt": "a line of code"}\n')
    code, message = run(folder, "--set", f"workload.data={data}")
    assert code == 2
    assert f"{data}:2: column 'text' is missing; the columns are txt; name the right one" in message


def test_a_baseline_that_fails_ends_the_search_at_once(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(CUSTOM)
    (tmp_path / "mine.py").write_text(MODULE)
    variables = environment(new_cache(tmp_path / "cache"))
    done = in_process("run", tmp_path / "experiment.yaml", extra=variables)
    assert done.returncode == 4, done.stderr
    assert "no batches of one" in done.stdout
    shown = in_process(
        *("show", tmp_path / "experiment.yaml", "--all", "--format", "json"), extra=variables
    )
    trials = json.loads(shown.stdout)
    assert [(t["number"], t["status"], t["stage"]) for t in trials] == [(0, "failed", "prepare")]


def test_a_quality_function_that_fails_is_found_before_the_search(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(CUSTOM.replace("mine:quality", "mine:raises"))
    (tmp_path / "mine.py").write_text(MODULE)
    code, message = run(tmp_path)
    assert code == 2
    assert "quality: the unchanged model can't be run: RuntimeError: the labels" in message
    assert not (tmp_path / "results" / "broken" / "study.db").exists()


def test_an_objective_that_no_measure_produces(folder: Path) -> None:
    code, message = run(folder, "--set", "objectives.latency_s=minimize")
    assert code == 2
    assert "objectives.latency_s: no measure produces 'latency_s' for causal-lm" in message
    assert "did you mean 'latency_ms'" in message


def test_a_space_in_which_nothing_can_run(folder: Path) -> None:
    code, message = run(
        folder,
        *("--set", "space={runtime: [onnxruntime], precision: [bf16]}"),
        *("--set", "baseline={}"),
    )
    assert code == 2
    assert (
        "can't run here: onnxruntime does not support precision bf16; it supports fp32" in message
    )


def test_a_space_in_which_only_the_baseline_can_run(folder: Path) -> None:
    code, message = run(
        folder,
        *("--set", "space={runtime: [onnxruntime], precision: [bf16]}"),
        *("--set", "baseline={runtime: torch, precision: fp32}"),
    )
    assert code == 2
    assert "no configuration of the space can run here, of 1 configuration: " in message
    assert "onnxruntime does not support precision bf16; it supports fp32 (1)" in message
    assert "--dry-run" in message


def test_a_tracking_server_that_is_away_is_reported_before_the_search(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, message = run(folder, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert code == 2
    assert "MLflow: http://127.0.0.1:9 can't be reached" in message
    assert "unset MLFLOW_TRACKING_URI" in message
    assert "checking model and data" not in capfd.readouterr().err


def test_a_file_store_is_refused(folder: Path) -> None:
    code, message = run(folder, MLFLOW_TRACKING_URI=str(folder / "mlruns"))
    assert code == 2
    assert "use sqlite:///PATH or a server" in message


def test_a_prepare_script_that_fails(folder: Path) -> None:
    (folder / "prepare.py").write_text("raise SystemExit(7)\n")
    variables = environment(new_cache(folder / "cache"))
    done = command(
        *("run", folder / "experiment.yaml", "--set", "prepare=prepare.py"), extra=variables
    )
    assert done.returncode == 2
    assert "prepare.py ended with exit code 7" in done.stderr
    assert not list((folder / "cache" / "prepared").iterdir())


def test_spelling_errors_on_the_command_line(folder: Path) -> None:
    variables = environment(new_cache(folder / "cache"))
    unknown = in_process("rnu", extra=variables)
    assert unknown.returncode == 2
    assert "did you mean 'run'" in unknown.stderr
    missing = in_process("run", folder / "nowhere.yaml", extra=variables)
    assert missing.returncode == 2
    assert "does not exist" in missing.stderr
    early = in_process("show", folder / "experiment.yaml", extra=variables)
    assert early.returncode == 2
    assert "start with `tunefront run" in early.stderr
    option = in_process("run", folder / "experiment.yaml", "--dri-run", extra=variables)
    assert option.returncode == 2


def test_init_writes_a_file_that_loads(tmp_path: Path) -> None:
    variables = environment(new_cache(tmp_path / "cache"))
    for task in ("text-embedding", "causal-lm", "custom", "image-classification"):
        path = tmp_path / "new" / f"{task}.yaml"
        assert in_process("init", path, "--task", task, extra=variables).returncode == 0
        experiment = load_experiment(path)
        assert experiment.space.enumerate().runnable
        assert experiment.workload.task == task
    done = in_process("run", tmp_path / "new" / "custom.yaml", "--dry-run", extra=variables)
    assert "can run here" in done.stdout
    assert done.returncode == 2, "the model that it names has yet to be written"
    assert "my_model" in done.stderr
    again = in_process("init", tmp_path / "new" / "custom.yaml", extra=variables)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    wrong = in_process("init", tmp_path / "x.yaml", "--task", "causal-ml", extra=variables)
    assert "did you mean 'causal-lm'" in wrong.stderr


def test_doctor_lists_what_is_installed(tmp_path: Path) -> None:
    variables = environment(new_cache(tmp_path / "cache"))
    shown = in_process("doctor", extra=variables)
    assert shown.returncode == 0
    assert "ok  torch" in shown.stdout
    assert "RAY_ADDRESS" in shown.stdout
    choices = in_process("doctor", "--choices", extra=variables)
    assert "tensor_parallel (runtime" in choices.stdout


def test_an_override_of_a_wrong_type(folder: Path) -> None:
    code, message = run(folder, "--set", "budget.trials=zero", "--dry-run")
    assert code == 2
    assert "budget.trials" in message and "'zero'" in message


def test_a_missing_record_changes_nothing(folder: Path) -> None:
    in_process("status", folder / "experiment.yaml", extra=environment(new_cache(folder / "cache")))
    assert not (folder / "results").exists() or not list((folder / "results").rglob("study.db"))


def test_a_cluster_that_does_not_respond_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    message = r"^RAY_ADDRESS=127\.0\.0\.1:9: no cluster responds"
    with pytest.raises(ClusterError, match=message), ray_session(1):
        pass
