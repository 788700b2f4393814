"""Choices that an experiment declares: what reaches a custom workload, what is measured again."""

from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    WorkloadSpec,
    catalog_for,
    describe_workload,
    evaluate,
)

MODULE = """
import numpy as np
import torch


def model(configuration):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, configuration["width"]), torch.nn.ReLU())


def inputs(batch_size, count, configuration):
    rows = np.full((batch_size, 4), configuration["level"], dtype=np.float32)
    return [{"input": rows} for _ in range(count)]


def quality(run, configuration):
    width = run({"input": np.ones((2, 4), dtype=np.float32)})[0].shape[1]
    return width + configuration["level"] / 100
"""
DECLARED: dict[str, dict[str, object]] = {
    "width": {"values": [8, 16], "stage": "model"},
    "level": {"values": [1, 2], "stage": "execution"},
    "pause": {"values": [0, 1], "stage": "execution", "changes_outputs": False},
}


@pytest.fixture(scope="module")
def settings(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path_factory: pytest.TempPathFactory,
) -> EvaluationSettings:
    folder = tmp_path_factory.mktemp("declared")
    (folder / "declaring_network.py").write_text(MODULE)
    spec = WorkloadSpec(
        task="custom",
        model="declaring_network:model",
        folder=str(folder),
        inputs="declaring_network:inputs",
        quality="declaring_network:quality",
        declared=DECLARED,
    )
    described = describe_workload(spec, isolation, folder / "log")
    return replace(lm_setting, workload=spec, fingerprint=described.fingerprint)


def test_functions_receive_the_configuration_and_quality_is_not_reused_across_outputs(
    settings: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    """Choices of the execution stage build nothing again; only some change the quality."""
    complete = catalog_for(settings.workload).complete
    found = [
        evaluate(settings, complete(values), isolation, tmp_path / "log")
        for values in (
            {"width": 16, "level": 1},
            {"width": 16, "level": 2},
            {"width": 16, "level": 2, "pause": 1},
            {"width": 8, "level": 2},
        )
    ]
    assert [one.status for one in found] == ["ok"] * 4, [one.message for one in found]
    assert [one.measurements["score"].value for one in found] == [16.01, 16.02, 16.02, 8.02]
    assert [("candidate" in one.reused, "quality" in one.reused) for one in found] == [
        (False, False),
        (True, False),
        (True, True),
        (False, False),
    ]
