"""The model builder runs offline; what it can't build is refused with its words."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.runtimes.base import Built
from tunefront.evaluators.runtimes.number_format import NumberFormat
from tunefront.evaluators.runtimes.onnxruntime.telemetry import VARIABLE
from tunefront.evaluators.runtimes.onnxruntime_genai.builder import build_graph, check_sizes
from tunefront.spaces import EvaluationError

from .conftest import CATALOG, ChoicesCase, write_model

FP32 = NumberFormat.of(CATALOG.complete({"runtime": "onnxruntime-genai"}))


def test_a_layer_with_as_many_outputs_as_the_vocabulary_has_tokens_is_refused(
    lm_folder: Path, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "model", lm_folder, vocabulary=128)
    with pytest.raises(EvaluationError, match="gate_proj.weight has 128 outputs") as caught:
        build_graph(folder, FP32, tmp_path / "built")
    assert caught.value.cause == "unsupported"
    assert "its model builder takes it for the output layer" in str(caught.value)


def test_the_tests_model_is_not_refused(checkpoint: Path) -> None:
    check_sizes(checkpoint)


def test_an_architecture_that_the_builder_does_not_know(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["UnheardOfForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EvaluationError, match="UnheardOf|not currently supported") as caught:
        build_graph(folder, FP32, tmp_path / "built")
    assert caught.value.cause == "unsupported"


@pytest.mark.parametrize(
    ("status", "words", "cause", "message"),
    [
        (-9, "", "oom", "the model builder was killed: too little memory"),
        (1, "OSError: [Errno 28] No space left on device\n", "disk full", "No space left"),
        (3, "", "unsupported", "the model builder ended with status 3"),
    ],
)
def test_other_ends_of_the_builder(
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Path,
    tmp_path: Path,
    status: int,
    words: str,
    cause: str,
    message: str,
) -> None:
    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, status, "", words)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(EvaluationError, match=message) as caught:
        build_graph(checkpoint, FP32, tmp_path)
    assert caught.value.cause == cause


def test_the_script_of_an_export_generates_the_same_tokens_without_tunefront(
    engine: ChoicesCase, tmp_path: Path
) -> None:
    """In a process with a home of its own, in which nothing is left behind.

    The response has the end token that the model is opened with.
    """
    case = engine()
    expected = list(case.run()[0].tokens)
    folder = shutil.copytree(case.built.folder, tmp_path / "export")
    built = Built(folder=folder, settings={**case.built.settings, "end_token": expected[2]})
    deployment = case.runtime.deployment(built, case.configuration)
    assert deployment is not None
    assert deployment.requirements == ("onnxruntime-genai",)
    prompt = list(case.source.prompts[0].prompt)
    both = f"run(load(), {prompt}, 8), list(stream(load(), {prompt}, 8))"
    call = f"\nimport json\nprint(json.dumps([{both}]))\n"
    (folder / "run.py").write_text(deployment.script + call)
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-I", folder / "run.py"],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [expected, expected]
    assert list(home.iterdir()) == []


def test_building_leaves_nothing_in_the_home_of_the_user(engine: ChoicesCase, home: Path) -> None:
    assert engine().built.folder.exists()
    assert list(home.rglob("*")) == []


def test_opening_switches_the_telemetry_off(
    engine: ChoicesCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    engine().open().close()
    assert os.environ[VARIABLE] == "1"
