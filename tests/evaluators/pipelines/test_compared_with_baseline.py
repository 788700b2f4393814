"""Where there is no unchanged model, outputs are compared with those of the baseline."""

from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import EvaluationSettings, WorkloadSpec, catalog_of
from tunefront.evaluators.interfaces.generation import ServerSpec
from tunefront.evaluators.interfaces.http import RequestTemplate
from tunefront.evaluators.pipelines.keys import quality_key
from tunefront.spaces import Configuration

COMMAND = "serve --port {port} --workers {workers}"
DECLARED: dict[str, dict[str, object]] = {"workers": {"values": [1, 2], "stage": "execution"}}
CATALOG = catalog_of((), DECLARED)


def configured(workers: int) -> Configuration:
    return CATALOG.complete({"runtime": "server", "workers": workers})


@pytest.fixture
def settings(tmp_path: Path) -> EvaluationSettings:
    spec = WorkloadSpec(
        task="http",
        folder=str(tmp_path),
        data="rows.jsonl",
        server=ServerSpec(command=COMMAND, folder=str(tmp_path)),
        request=RequestTemplate(path="/v1/embeddings", body={"input": "{text}"}),
        declared=DECLARED,
    )
    return EvaluationSettings(
        workload=spec, fingerprint="f", store=str(tmp_path), baseline=configured(1)
    )


def test_the_key_of_quality_covers_the_baseline(settings: EvaluationSettings) -> None:
    """The same candidate has another agreement with another baseline."""
    other = replace(settings, baseline=configured(2))
    keys = {
        quality_key(one, configured(workers)) for one in (settings, other) for workers in (1, 2)
    }
    assert len(keys) == 4
    alone = replace(settings, baseline={})
    assert quality_key(alone, configured(1)) not in keys


def test_the_load_is_no_part_of_it(settings: EvaluationSettings) -> None:
    limited = replace(settings, workload=replace(settings.workload, slo={"e2e_latency_ms": 1.0}))
    assert quality_key(limited, configured(2)) == quality_key(settings, configured(2))
