"""The fingerprint covers all that a user's model, requests and quality depend on."""

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    WorkloadSpec,
    builtin_catalog,
    describe_workload,
    evaluate,
)
from tunefront.evaluators.pipelines.tasks.describe import DescribeRequest, describe
from tunefront.spaces import WorkloadError

USER = """
from pathlib import Path

import numpy as np
import torch
from described_parts import SCALE
from safetensors.torch import load_file

HERE = Path(__file__).parent


def model():
    network = torch.nn.Linear(4, 2)
    network.load_state_dict(load_file(HERE / "weights.safetensors"))
    return network


def inputs(batch_size, count):
    rows = np.load(HERE / "rows.npy")
    return [{"input": np.resize(rows, (batch_size, 4))} for _ in range(count)]


def quality(run):
    labels = [float(line) for line in (HERE / "labels.txt").read_text().split()]
    outputs = [run({"input": np.full((1, 4), n, np.float32)})[0].mean() for n in (1, 2)]
    return [SCALE * output + label for output, label in zip(outputs, labels)]
"""
PARTS = "SCALE = 1.0\n"


def write_weights(folder: Path, factor: float) -> None:
    weights = {"weight": torch.full((2, 4), factor), "bias": torch.zeros(2)}
    save_file(weights, folder / "weights.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's model: weights, rows, labels and a module that is imported."""
    found = tmp_path / "experiment"
    found.mkdir()
    (found / "described_network.py").write_text(USER)
    (found / "described_parts.py").write_text(PARTS)
    write_weights(found, 1.0)
    np.save(found / "rows.npy", np.ones((8, 4), dtype=np.float32))
    (found / "labels.txt").write_text("0 0\n")
    (found / "README.md").write_text("not read\n")
    return found


def spec_of(folder: Path) -> WorkloadSpec:
    return WorkloadSpec(
        task="custom",
        model="described_network:model",
        folder=str(folder),
        inputs="described_network:inputs",
        quality="described_network:quality",
        metric="score",
    )


Fingerprint = Callable[[Path], str]


@pytest.fixture
def fingerprint(isolation: Isolation, tmp_path: Path) -> Fingerprint:
    def of(folder: Path) -> str:
        return describe_workload(spec_of(folder), isolation, tmp_path / "log").fingerprint

    return of


def test_it_is_the_same_at_every_call_and_in_every_folder(
    folder: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    first = fingerprint(folder)
    (folder / "README.md").write_text("changed, but it decides nothing\n")
    assert fingerprint(folder) == first
    assert fingerprint(shutil.copytree(folder, tmp_path / "elsewhere")) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: write_weights(folder, 2.0),
        lambda folder: (folder / "described_parts.py").write_text("SCALE = 2.0\n"),
        lambda folder: (folder / "described_network.py").write_text(USER + "# changed\n"),
        lambda folder: np.save(folder / "rows.npy", np.zeros((8, 4), dtype=np.float32)),
        lambda folder: (folder / "labels.txt").write_text("0 1\n"),
    ],
    ids=["weights", "imported module", "module", "rows of the requests", "labels of the quality"],
)
def test_every_change_of_what_decides_changes_it(
    change: Callable[[Path], object], folder: Path, fingerprint: Fingerprint
) -> None:
    before = fingerprint(folder)
    change(folder)
    assert fingerprint(folder) != before


def test_the_items_of_the_unchanged_models_quality_are_described(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`quality` returns two scores, 8 and 16."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    configuration = builtin_catalog().complete({})
    found = describe(DescribeRequest(workload=spec_of(folder), configuration=configuration))
    assert found.quality is not None
    assert (found.quality.items, found.quality.evaluated, found.quality.hits) == (2, 2, False)
    assert found.quality.level == pytest.approx(6.0)


def test_a_changed_model_is_measured_anew(
    folder: Path, lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    """The store holds the earlier one."""
    scores = []
    for factor in (1.0, 3.0):
        write_weights(folder, factor)
        spec = spec_of(folder)
        described = describe_workload(spec, isolation, tmp_path / "log")
        settings = replace(lm_setting, workload=spec, fingerprint=described.fingerprint)
        chosen = builtin_catalog().complete({"runtime": "torch", "batch_size": 2, "threads": 1})
        found = evaluate(settings, chosen, isolation, tmp_path / "log")
        assert found.status == "ok", (found.message, found.log)
        scores.append(found.measurements["score"].value)
    assert scores == pytest.approx([6.0, 18.0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'network.load_state_dict(load_file(HERE / "weights.safetensors"))',
            "pass",
            "model: the weights differ from one call to the next, .*; seed them with",
        ),
        (
            "np.resize(rows, (batch_size, 4))",
            "np.random.rand(batch_size, 4).astype(np.float32)",
            "inputs: the requests differ from one call to the next, .*; use a fixed seed",
        ),
        (
            "    return network\n",
            "    return Pair(network)\n\nclass Pair(torch.nn.Module):\n"
            "    def __init__(self, inner):\n        super().__init__()\n"
            "        self.inner = inner\n"
            "    def forward(self, input):\n        return self.inner(input), input\n",
            "model: its forward must return one tensor, but returned tuple of 2 parts; name",
        ),
        (
            "    return network\n",
            "    return Named(network)\n\nclass Named(torch.nn.Module):\n"
            "    def __init__(self, inner):\n        super().__init__()\n"
            "        self.inner = inner\n"
            "    def forward(self, input):\n        return {'out': self.inner(input)}\n",
            "model: its forward must return one tensor, but returned dict with 'out'; name",
        ),
        (
            "np.resize(rows, (batch_size, 4))",
            "np.resize(rows, (batch_size, 5))",
            "model: the unchanged model can't be run: RuntimeError: .*shapes cannot be multiplied",
        ),
        (
            "labels.txt",
            "no_labels.txt",
            "quality: the unchanged model can't be run: FileNotFoundError: .*no_labels.txt",
        ),
    ],
    ids=["weights", "requests", "tuple", "dict", "shape", "quality"],
)
def test_what_can_not_be_measured_is_refused_while_it_is_checked(
    old: str, new: str, message: str, folder: Path, fingerprint: Fingerprint
) -> None:
    path = folder / "described_network.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(WorkloadError, match=message):
        fingerprint(folder)


def test_a_model_folder_that_is_missing_or_damaged_is_refused(
    lm_spec: WorkloadSpec, isolation: Isolation, tmp_path: Path
) -> None:
    missing = r"model: './no/such/model' is neither a folder .*hub id"
    with pytest.raises(WorkloadError, match=missing):
        describe_workload(replace(lm_spec, model="./no/such/model"), isolation, tmp_path / "log")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{not json")
    (broken / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WorkloadError, match=f"{re.escape(str(broken))} can't be loaded"):
        describe_workload(replace(lm_spec, model=str(broken)), isolation, tmp_path / "log")


SEVERAL = """
import numpy as np
import torch


class Several(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.second, self.kind = torch.nn.Linear(4, 3), torch.nn.Linear(3, 2), kind

    def forward(self, input):
        boxes = self.first(input)
        scores = self.second(boxes)
        return {"boxes": boxes, "scores": scores} if self.kind == "dict" else (boxes, scores)


def model():
    torch.manual_seed(0)
    return Several("dict")


def pair():
    torch.manual_seed(0)
    return Several("tuple")


def inputs(batch_size, count):
    return [{"input": np.ones((batch_size, 4), dtype=np.float32)} for _ in range(count)]


def quality(run):
    return float(run({"input": np.ones((3, 4), dtype=np.float32)})[0].shape[1])
"""


@pytest.fixture
def several(tmp_path: Path) -> WorkloadSpec:
    """A module with boxes of 3 features and scores of 2."""
    (tmp_path / "several_outputs.py").write_text(SEVERAL)
    return WorkloadSpec(
        task="custom",
        model="several_outputs:model",
        folder=str(tmp_path),
        inputs="several_outputs:inputs",
        quality="several_outputs:quality",
        metric="width",
    )


@pytest.mark.parametrize(
    ("model", "output", "width"),
    [("model", "scores", 2.0), ("model", "boxes", 3.0), ("pair", 1, 2.0)],
)
def test_the_output_that_the_workload_names_is_measured(
    model: str,
    output: str | int,
    width: float,
    several: WorkloadSpec,
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
) -> None:
    spec = replace(several, model=f"several_outputs:{model}", output=output)
    described = describe_workload(spec, isolation, tmp_path / "log")
    settings = replace(lm_setting, workload=spec, fingerprint=described.fingerprint)
    chosen = builtin_catalog().complete({"runtime": "onnxruntime", "threads": 1})
    found = evaluate(settings, chosen, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.measurements["width"].value == width


def test_an_output_that_does_not_exist_is_refused(
    several: WorkloadSpec, isolation: Isolation, tmp_path: Path
) -> None:
    told = "output: 'score' is not among the module's outputs: dict with 'boxes', 'scores'"
    with pytest.raises(WorkloadError, match=told):
        describe_workload(replace(several, output="score"), isolation, tmp_path / "log")


def test_only_custom_workloads_choose_an_output() -> None:
    with pytest.raises(WorkloadError, match="output: only task custom chooses among outputs"):
        WorkloadSpec(task="causal-lm", model="m", folder="/", data="d", output="logits")
