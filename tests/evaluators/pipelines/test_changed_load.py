"""A changed load measures again, and builds and judges nothing again."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import (
    Evaluation,
    EvaluationSettings,
    Isolation,
    Protocol,
    WorkloadSpec,
    catalog_of,
    evaluate,
)
from tunefront.evaluators.interfaces.generation import LoadSpec
from tunefront.evaluators.pipelines.keys import candidate_key, quality_key

TOY = Path(__file__).parents[2] / "extensions" / "toy_engine" / "toy_engine.py"
QUICK = Protocol(seconds=0.05, turns=3, requests=2, block_s=0.01, wait_s=0.0)
LOADS = (
    LoadSpec(concurrency=(2,), output_tokens=4),
    LoadSpec(concurrency=(1,), output_tokens=4),
    LoadSpec(rate=(50.0,), output_tokens=4),
    LoadSpec(concurrency=(2,), output_tokens=6),
)
"""The first load; other numbers of requests, a rate, other lengths."""
Evaluated = Callable[[LoadSpec | None, dict[str, float]], Evaluation]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSettings:
    folder = tmp_path_factory.mktemp("loads")
    shutil.copyfile(TOY, folder / TOY.name)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text('{"step": 3, "size": 100}')
    spec = WorkloadSpec(
        task="counting", model="model", folder=str(folder), extensions=(str(folder / TOY.name),)
    )
    return EvaluationSettings(
        workload=spec, fingerprint="f", store=str(folder / "store"), protocol=QUICK
    )


@pytest.fixture(scope="module")
def evaluated(setting: EvaluationSettings, isolation: Isolation) -> Evaluated:
    """Evaluate the same configuration under a load and an SLO."""
    configuration = catalog_of(setting.workload.extensions).complete({"runtime": "counter"})

    def found(load: LoadSpec | None, slo: dict[str, float]) -> Evaluation:
        workload = replace(setting.workload, load=load, slo=slo)
        log = Path(setting.store).parent / "log"
        return evaluate(replace(setting, workload=workload), configuration, isolation, log)

    first = found(LOADS[0], {})
    assert first.status == "ok", first.message
    assert "candidate" not in first.reused
    return found


@pytest.mark.parametrize("load", LOADS[:3])
def test_other_arrivals_reuse_the_candidate_and_its_quality(
    evaluated: Evaluated, load: LoadSpec
) -> None:
    again = evaluated(load, {"ttft_ms": 60_000.0})
    assert {"candidate", "reference", "quality"} <= set(again.reused)
    assert "requests" not in again.reused
    assert again.measurements["goodput"].value > 0


def test_the_same_load_reuses_the_requests_and_measures_again(evaluated: Evaluated) -> None:
    first, again = evaluated(LOADS[0], {}), evaluated(LOADS[0], {})
    assert "requests" in again.reused
    assert first.blocks != again.blocks


def test_longer_responses_are_judged_again_and_not_built_again(evaluated: Evaluated) -> None:
    again = evaluated(LOADS[3], {})
    assert "candidate" in again.reused
    assert "quality" not in again.reused


def test_a_load_is_no_part_of_the_keys_of_builds(setting: EvaluationSettings) -> None:
    configuration = catalog_of(setting.workload.extensions).complete({"runtime": "counter"})
    settings = [replace(setting, workload=replace(setting.workload, load=one)) for one in LOADS]
    assert len({candidate_key(one, configuration) for one in [setting, *settings]}) == 1
    assert len({quality_key(one, configuration) for one in settings}) == 2
