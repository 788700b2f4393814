"""Bad input is refused before the night, says what to do, and loses nothing."""

import json
from pathlib import Path

import pytest
from tests.caches import new_cache

from tunefront.search.cluster.session import ray_session
from tunefront.spaces import ClusterError

from .conftest import EXPERIMENT, command, environment

CUSTOM = """\
name: custom
workload: {task: custom, model: "mine:model", inputs: "mine:inputs", quality: "mine:raises"}
space: {runtime: [torch], batch_size: [1, 2]}
baseline: {runtime: torch, batch_size: 1}
objectives: {throughput: maximize, score: maximize}
budget: {trials: 2}
measurement: {seconds: 0.2, turns: 3, wait: 0}
confirmation: {finalists: 0}
"""
MODULE = """\
import numpy as np
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 2)

def inputs(batch_size, count):
    return [{"input": np.ones((batch_size, 4), dtype=np.float32)} for _ in range(count)]

def raises(run):
    raise RuntimeError("the labels are gone")
"""


def run(folder: Path, *arguments: str, **extra: str) -> tuple[int, str]:
    """Exit code and messages of `tunefront run` on the folder's file."""
    variables = {**environment(new_cache(folder / "cache")), **extra}
    done = command("run", folder / "experiment.yaml", *arguments, extra=variables)
    return done.returncode, done.stderr


@pytest.fixture
def folder(tmp_path: Path, lm_folder: Path) -> Path:
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT.format(folder=lm_folder))
    return tmp_path


def test_a_model_folder_that_is_missing(folder: Path) -> None:
    code, told = run(folder, "--set", "workload.model=./no/such/model")
    assert code == 2
    assert "model: './no/such/model' is neither a folder" in told
    assert "hub id" in told


def test_a_model_that_can_not_be_read(folder: Path) -> None:
    broken = folder / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{not json")
    (broken / "model.safetensors").write_bytes(b"no tensors")
    code, told = run(folder, "--set", f"workload.model={broken}")
    assert code == 2
    assert str(broken) in told
    assert "can't be loaded" in told


def test_a_bad_row_is_named_by_file_and_line(folder: Path) -> None:
    data = folder / "rows.jsonl"
    data.write_text('{"text": "a line of code"}\n{"txt": "a line of code"}\n')
    code, told = run(folder, "--set", f"workload.data={data}")
    assert code == 2
    assert f"{data}:2: column 'text' is missing or empty" in told


def test_a_baseline_that_fails_ends_the_night_at_once(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(CUSTOM)
    (tmp_path / "mine.py").write_text(MODULE)
    done = command(
        "run", tmp_path / "experiment.yaml", extra=environment(new_cache(tmp_path / "cache"))
    )
    assert done.returncode == 4, done.stderr
    assert "the labels are gone" in done.stdout
    trials = json.loads(
        command(
            *("show", tmp_path / "experiment.yaml", "--all", "--format", "json"),
            extra=environment(new_cache(tmp_path / "cache")),
        ).stdout
    )
    assert [(t["number"], t["status"], t["stage"]) for t in trials] == [(0, "failed", "quality")]


def test_an_objective_that_no_measure_produces(folder: Path) -> None:
    code, told = run(folder, "--set", "objectives.latency_s=minimize")
    assert code == 2
    assert "objectives.latency_s: no measure produces 'latency_s' for causal-lm" in told
    assert "did you mean 'latency_ms'" in told


def test_a_space_in_which_nothing_can_run(folder: Path) -> None:
    code, told = run(
        folder,
        *("--set", "space={runtime: [onnxruntime], precision: [bf16]}"),
        *("--set", "baseline={}"),
    )
    assert code == 2
    assert "can't run here: onnxruntime does not support precision bf16; it supports fp32" in told


def test_a_space_in_which_only_the_baseline_can_run(folder: Path) -> None:
    code, told = run(
        folder,
        *("--set", "space={runtime: [onnxruntime], precision: [bf16]}"),
        *("--set", "baseline={runtime: torch, precision: fp32}"),
    )
    assert code == 2
    assert "no configuration of the space can run here, of 1 configuration: " in told
    assert "onnxruntime does not support precision bf16; it supports fp32 (1)" in told
    assert "--dry-run" in told


def test_a_tracking_server_that_is_away_is_said_before_the_night(folder: Path) -> None:
    code, told = run(folder, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert code == 2
    assert "MLflow: http://127.0.0.1:9 can't be reached" in told
    assert "unset MLFLOW_TRACKING_URI" in told
    assert "checking model and data" not in told


def test_a_file_store_is_refused(folder: Path) -> None:
    code, told = run(folder, MLFLOW_TRACKING_URI=str(folder / "mlruns"))
    assert code == 2
    assert "use sqlite:///PATH or a server" in told


def test_a_prepare_script_that_fails(folder: Path) -> None:
    (folder / "prepare.py").write_text("raise SystemExit(7)\n")
    code, told = run(folder, "--set", "prepare=prepare.py")
    assert code == 2
    assert "prepare.py ended with exit code 7" in told
    assert not list((folder / "cache" / "prepared").iterdir())


def test_slips_of_the_pen_on_the_command_line(folder: Path) -> None:
    variables = environment(new_cache(folder / "cache"))
    unknown = command("rnu", extra=variables)
    assert unknown.returncode == 2
    assert "did you mean 'run'" in unknown.stderr
    missing = command("run", folder / "nowhere.yaml", extra=variables)
    assert missing.returncode == 2
    assert "does not exist" in missing.stderr
    early = command("show", folder / "experiment.yaml", extra=variables)
    assert early.returncode == 2
    assert "start with `tunefront run" in early.stderr
    option = command("run", folder / "experiment.yaml", "--dri-run", extra=variables)
    assert option.returncode == 2


def test_init_writes_a_file_that_loads(tmp_path: Path) -> None:
    variables = environment(new_cache(tmp_path / "cache"))
    for task in ("text-embedding", "causal-lm", "custom", "image-classification"):
        path = tmp_path / "new" / f"{task}.yaml"
        assert command("init", path, "--task", task, extra=variables).returncode == 0
        done = command("run", path, "--dry-run", extra=variables)
        assert done.returncode == 0, done.stderr
        assert "can run here" in done.stdout
    again = command("init", tmp_path / "new" / "custom.yaml", extra=variables)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    wrong = command("init", tmp_path / "x.yaml", "--task", "causal-ml", extra=variables)
    assert "did you mean 'causal-lm'" in wrong.stderr


def test_doctor_says_what_is_there(tmp_path: Path) -> None:
    variables = environment(new_cache(tmp_path / "cache"))
    shown = command("doctor", extra=variables)
    assert shown.returncode == 0
    assert "ok  torch" in shown.stdout
    assert "RAY_ADDRESS" in shown.stdout
    choices = command("doctor", "--choices", extra=variables)
    assert "tensor_parallel (runtime" in choices.stdout


def test_an_experiment_from_several_sources_keeps_its_word(folder: Path) -> None:
    code, told = run(folder, "--set", "budget.trials=zero", "--dry-run")
    assert code == 2
    assert "budget.trials" in told and "'zero'" in told


def test_a_missing_record_changes_nothing(folder: Path) -> None:
    command("status", folder / "experiment.yaml", extra=environment(new_cache(folder / "cache")))
    assert not (folder / "results").exists() or not list((folder / "results").rglob("study.db"))


def test_a_cluster_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    told = r"^RAY_ADDRESS=127\.0\.0\.1:9: no cluster responds"
    with pytest.raises(ClusterError, match=told), ray_session(1):
        pass
