"""What is written down holds nothing of the environment, and an export holds no pickle."""

import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    WorkloadSpec,
    builtin_catalog,
    describe_workload,
    evaluate,
    export_candidate,
)
from tunefront.evaluators.isolation.codec import to_plain

SECRET = "secret-value-123"
PartsWith = Callable[[Path, str], list[str]]
PickledParts = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def told() -> Iterator[Isolation]:
    """Fork servers whose environment holds secrets."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"):
            patch.setenv(name, SECRET)
        found = Isolation()
        yield found
        found.close()


MODULE = """
import numpy as np
import torch

def model():
    torch.manual_seed(0)
    return torch.nn.Linear(8, 4)

def inputs(batch_size, count):
    return [{"input": np.ones((batch_size, 8), dtype=np.float32)} for _ in range(count)]

def quality(run):
    return 1.0
"""


@pytest.fixture(scope="module")
def small_setting(
    lm_setting: EvaluationSettings, told: Isolation, tmp_path_factory: pytest.TempPathFactory
) -> EvaluationSettings:
    """A user's module of one layer."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small_network.py").write_text(MODULE)
    spec = WorkloadSpec(
        task="custom",
        model="small_network:model",
        folder=str(folder),
        inputs="small_network:inputs",
        quality="small_network:quality",
        metric="score",
    )
    described = describe_workload(spec, told, folder / "log")
    return replace(lm_setting, workload=spec, fingerprint=described.fingerprint)


@pytest.fixture(
    scope="module",
    params=[
        # The language model comes with the tokenizer that exports hold.
        ("torch", "lm_setting"),
        *(
            pytest.param(
                (name, "small_setting"), marks=[pytest.mark.soak] if name == "inductor" else []
            )
            for name in builtin_catalog().runtimes("custom")
        ),
    ],
    ids="-".join,
)
def written(
    request: pytest.FixtureRequest,
    told: Isolation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with `store`, `logs` and `export` of one evaluation."""
    runtime, fixture = request.param
    folder = tmp_path_factory.mktemp(runtime)
    settings = replace(request.getfixturevalue(fixture), store=str(folder / "store"))
    configuration = builtin_catalog().complete({"runtime": runtime, "threads": 1, "batch_size": 2})
    found = evaluate(settings, configuration, told, folder / "logs" / "trial.log")
    assert found.status == "ok", (found.message, found.log)
    (folder / "export").mkdir()
    export_candidate(
        settings, configuration, told, folder / "logs" / "trial.log", folder / "export"
    )
    (folder / "evaluation").write_text(str(to_plain(found)))
    return folder


def test_no_variable_of_the_environment_is_written_down(
    written: Path, parts_with: PartsWith
) -> None:
    assert "export/candidate.json" in parts_with(written, "reference_parameters")
    assert parts_with(written, SECRET) == []


def test_a_failure_writes_no_variable_down(
    lm_setting: EvaluationSettings, told: Isolation, tmp_path: Path, parts_with: PartsWith
) -> None:
    configuration = builtin_catalog().complete(
        {"runtime": "torch", "threads": 1, "pruning_ratio": 0.5}
    )
    broken = builtin_catalog().complete({**configuration, "pruning_method": "no-such-method"})
    found = evaluate(lm_setting, broken, told, tmp_path / "trial.log")
    (tmp_path / "evaluation").write_text(str(to_plain(found)))
    assert found.status == "failed"
    assert parts_with(tmp_path, "no-such-method") == ["evaluation", "trial.log"]
    assert parts_with(tmp_path, SECRET) == []


def test_no_part_of_an_export_is_a_pickle(written: Path, pickled_parts: PickledParts) -> None:
    assert len(list((written / "export").iterdir())) > 3
    assert pickled_parts(written / "export") == []


def test_pickles_are_found_wherever_they_hide(tmp_path: Path, pickled_parts: PickledParts) -> None:
    """Else the test above could not fail."""
    for protocol in range(6):
        (tmp_path / f"protocol{protocol}").write_bytes(pickle.dumps({"a": [1, 2]}, protocol))
    torch.save({"a": torch.zeros(2)}, tmp_path / "torch")
    np.savez(tmp_path / "arrays.npz", objects=np.array([{"a": 1}], dtype=object))
    with zipfile.ZipFile(tmp_path / "archive", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "torch", "below/torch")
    found = pickled_parts(tmp_path)
    assert found == [
        "archive/below/torch/torch/data.pkl",
        "arrays.npz/objects.npy",
        *(f"protocol{protocol}" for protocol in range(6)),
        "torch/torch/data.pkl",
    ]


def test_secrets_are_found_in_archives(tmp_path: Path, parts_with: PartsWith) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("below/file", f"token={SECRET}" * 10)
    assert parts_with(tmp_path, SECRET) == ["archive/below/file"]
