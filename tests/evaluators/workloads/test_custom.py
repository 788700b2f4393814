"""A user's own module that knows nothing of precisions runs in every one of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    WorkloadSpec,
    builtin_catalog,
    describe_workload,
    evaluate,
)
from tunefront.spaces import Value, WorkloadError, detect_hardware

MODULE = """
import numpy as np
import torch


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32))


def inputs(batch_size, count):
    random = np.random.default_rng(0)
    return [{"input": random.standard_normal((batch_size, 64), np.float32)} for _ in range(count)]


def quality(run):
    with torch.inference_mode():
        wanted = [model()(torch.from_numpy(request["input"])).numpy() for request in inputs(4, 2)]
    found = [run(request)[0] for request in inputs(4, 2)]
    return [1 - float(np.abs(f - w).mean()) for f, w in zip(found, wanted, strict=True)]


def not_a_number(run):
    return float("nan")


def a_word(run):
    return "good"
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> WorkloadSpec:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "plain_network.py").write_text(MODULE)
    return WorkloadSpec(
        task="custom",
        model="plain_network:model",
        folder=str(folder),
        inputs="plain_network:inputs",
        quality="plain_network:quality",
        metric="score",
    )


@pytest.mark.parametrize(
    ("runtime", "bits"),
    [
        ("torch", 16),
        ("torch", 8),
        pytest.param("inductor", 16, marks=pytest.mark.soak),
        ("openvino", 16),
    ],
)
def test_floats_are_cast_at_its_border(
    runtime: str,
    bits: int,
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
    spec: WorkloadSpec,
) -> None:
    catalog = builtin_catalog()
    values: dict[str, Value] = {
        "runtime": runtime,
        "precision": "bf16",
        "quantization_bits": bits,
        "quantization_method": "rtn",
    }
    if reason := catalog.refusal(values, detect_hardware()):
        pytest.skip(reason)
    described = describe_workload(spec, isolation, tmp_path / "log")
    settings = replace(lm_setting, workload=spec, fingerprint=described.fingerprint)
    configuration = catalog.complete({**values, "batch_size": 2})
    found = evaluate(settings, configuration, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.facts["precision"] == "bf16"
    assert found.measurements["score"].value > 0.98


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        ("not_a_number", "plain_network:not_a_number must return finite numbers"),
        ("a_word", "plain_network:a_word must return a number or numbers, but returned str"),
    ],
)
def test_a_quality_that_is_no_number_is_refused_and_a_failure_of_a_trial(
    quality: str,
    message: str,
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
    spec: WorkloadSpec,
) -> None:
    spec = replace(spec, quality=f"plain_network:{quality}")
    with pytest.raises(WorkloadError, match=message):
        describe_workload(spec, isolation, tmp_path / "log")
    settings = replace(lm_setting, workload=spec, fingerprint=f"not checked: {quality}")
    configuration = builtin_catalog().complete({"runtime": "torch"})
    found = evaluate(settings, configuration, isolation, tmp_path / "log")
    assert (found.status, found.stage, found.cause) == ("failed", "quality", "invalid output")
    assert message in found.message
