"""The ready-made experiments: their files are valid, and no model is trained by the clock."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.search import load_experiment
from tunefront.spaces import Hardware

FOLDER = Path(__file__).parent.parent / "experiments"
FILES = sorted(FOLDER.glob("*/experiment.yaml"))
SCRIPTS = sorted(FOLDER.glob("*/prepare*.py"))
PLAIN = Hardware(
    cpu="Made-up CPU",
    cores=2,
    memory_mb=16_384,
    isa=frozenset({"avx2"}),
    libraries={
        name: "1.0"
        for name in (
            "torch",
            "torchao",
            "transformers",
            "onnx",
            "onnxscript",
            "onnxruntime",
            "onnxruntime-genai",
            "openvino",
            "openvino-genai",
            "nncf",
        )
    },
)
"""A processor without bf16, VNNI and AMX instructions."""


def test_experiments_and_scripts_are_found() -> None:
    assert "quickstart" in {path.parent.name for path in FILES}
    assert "quickstart" in {path.parent.name for path in SCRIPTS}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.parent.name)
def test_the_file_is_valid_on_any_processor(file: Path) -> None:
    experiment = load_experiment(file, hardware=PLAIN)
    assert experiment.space.obstacle(experiment.baseline) is None


@pytest.mark.parametrize(
    ("name", "runtimes"),
    [
        ("quickstart", {"transformers", "openvino-genai", "onnxruntime-genai"}),
        ("text-embedding", {"torch", "onnxruntime", "openvino"}),
    ],
)
def test_there_is_enough_to_try_without_bf16(name: str, runtimes: set[str]) -> None:
    experiment = load_experiment(FOLDER / name, hardware=PLAIN)
    runnable = experiment.space.enumerate().runnable
    assert experiment.budget.trials is not None
    assert len(runnable) > experiment.budget.trials
    assert {c["runtime"] for c in runnable} == runtimes


def test_the_quickstart_is_copied_as_one_folder() -> None:
    """`prepare` names a script of its own folder; other experiments may name the quickstart's."""
    prepare = load_experiment(FOLDER / "quickstart", hardware=PLAIN).prepare
    assert prepare is not None
    assert prepare.script.resolve().parent == FOLDER / "quickstart"


def test_the_rows_of_text_embedding_are_the_same_every_time(tmp_path: Path) -> None:
    script = FOLDER / "text-embedding" / "prepare_retrieval.py"
    written = []
    for name in ("first", "second"):
        subprocess.run([sys.executable, script, tmp_path / name], check=True, capture_output=True)
        written.append({p.name: p.read_text() for p in sorted((tmp_path / name).iterdir())})
    assert written[0] == written[1]
    assert sorted(written[0]) == ["calibration.jsonl", "retrieval.jsonl"]
    for text in written[0].values():
        assert all(set(json.loads(line)) == {"query", "document"} for line in text.splitlines())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_training_takes_a_fixed_number_of_steps(script: Path) -> None:
    """No loop of a prepare script has a condition: how long it runs never decides what it makes."""
    tree = ast.parse(script.read_text())
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.While)]
    broken_off = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Break)]
    assert not broken_off
