"""Judging and measuring that end early: what it saves, and whom it serves."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluators.conftest import QUICK, TORCH

from tunefront.evaluators import (
    Evaluation,
    EvaluationSettings,
    InterimResult,
    InterimRule,
    Isolation,
    Timing,
    WorkloadSpec,
    builtin_catalog,
    describe_workload,
    evaluate,
    speed_against,
)
from tunefront.evaluators.benchmark.interleaved import INTERIM_TURNS
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.pipelines import inference
from tunefront.evaluators.pipelines.keys import quality_key
from tunefront.evaluators.pipelines.tasks.quality import of_all_items
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.paired_quality import moved
from tunefront.evaluators.store.store import Store
from tunefront.evaluators.workloads.causal_lm import CausalLM
from tunefront.evaluators.workloads.quality import Quality, read_items, read_metrics, write_quality
from tunefront.spaces import Configuration


@pytest.fixture(scope="module")
def long_setting(
    lm_spec: WorkloadSpec, isolation: Isolation, tmp_path_factory: pytest.TempPathFactory
) -> EvaluationSettings:
    """The tiny model with 320 texts (looks after 40, 80, 160), its baseline judged."""
    folder = tmp_path_factory.mktemp("long")
    rows = lm_spec.path("data.jsonl").read_text().splitlines()
    (folder / "data.jsonl").write_text("\n".join((rows * 14)[:320]) + "\n")
    spec = replace(lm_spec, data=str(folder / "data.jsonl"))
    described = describe_workload(spec, isolation, folder / "log")
    settings = EvaluationSettings(
        workload=spec,
        fingerprint=described.fingerprint,
        store=str(folder / "store"),
        protocol=replace(QUICK, reference=False),
        baseline=TORCH,
    )
    found = evaluate(settings, builtin_catalog().complete(TORCH), isolation, folder / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.facts["evaluated_items"] == 320
    return settings


PRUNED = builtin_catalog().complete(
    {**TORCH, "pruning_ratio": 0.75, "pruning_method": "ffn-channels"}
)


def judged_with(
    settings: EvaluationSettings,
    isolation: Isolation,
    folder: Path,
    configuration: Configuration = PRUNED,
) -> Evaluation:
    """The evaluation up to its quality; nothing is measured."""

    def unmeasured(pipeline: object, run: object, own: object, rule: object, quality: Path) -> Any:
        return inference._with_quality(Evaluation(status="ok"), quality)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference.InferencePipeline, "_measure", unmeasured)
        found = evaluate(settings, configuration, isolation, folder / "log")
    assert found.status == "ok", (found.message, found.log)
    return found


def test_judging_ends_early_where_the_limit_is_decided(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    """-50 % is broken by everything: decided at the first look, one in eight items."""
    strict = replace(long_setting, quality_limit=-50.0)
    found = judged_with(strict, isolation, tmp_path)
    own = np.array(found.items)
    assert found.facts["evaluated_items"] == (own[1] > 0).sum() == 40
    assert found.facts["items"] == own.shape[1] == 320
    baseline = quality_key(long_setting, builtin_catalog().complete(TORCH))
    folder = Store(Path(long_setting.store)).path(baseline)
    level = read_metrics(folder)["perplexity"]
    expected = moved(own, read_items(folder), level, CausalLM.metrics[0])
    perplexity = found.measurements["perplexity"]
    assert perplexity.value == pytest.approx(expected.value, rel=1e-5)
    assert perplexity.samples == 40
    assert "agreement" not in found.measurements
    again = judged_with(strict, isolation, tmp_path)
    assert "quality" in again.reused
    assert again.items == found.items


def test_figures_of_a_part_are_replaced_and_those_of_all_items_are_not(tmp_path: Path) -> None:
    """An item without weight in the baseline, too, is no item that was left out."""
    figures = {
        name: Measurement.exact(value, "") for name, value in (("perplexity", 20), ("agreement", 1))
    }
    losses, weights = np.log([10.0, 20.0, 40.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0])
    write_quality(Quality(metrics=figures, items=losses, weights=weights), tmp_path)
    whole = Quality(metrics=figures, items=losses + np.log(1.1), weights=weights)
    assert of_all_items(whole, tmp_path, CausalLM.metrics[0]) is whole
    part = of_all_items(
        replace(whole, weights=np.array([1.0, 1.0, 0.0, 0.0])), tmp_path, CausalLM.metrics[0]
    )
    assert list(part.metrics) == ["perplexity"]
    assert part.metrics["perplexity"].value == pytest.approx(22.0)
    assert part.items is whole.items


def test_a_limit_that_is_kept_ends_judging_where_quality_is_no_objective(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    lax = replace(long_setting, quality_limit=1e6, quality_matters=False)
    assert judged_with(lax, isolation, tmp_path).facts["evaluated_items"] == 40
    mattering = replace(lax, quality_matters=True)
    assert judged_with(mattering, isolation, tmp_path).facts["evaluated_items"] == 320


def test_the_baseline_is_always_judged_whole(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    strict = replace(long_setting, quality_limit=-50.0, store=str(tmp_path / "store"))
    other_batch = builtin_catalog().complete({**TORCH, "batch_size": 2})
    for configuration in (builtin_catalog().complete(TORCH), other_batch):
        found = judged_with(strict, isolation, tmp_path, configuration)
        assert found.facts["evaluated_items"] == 320


def test_a_candidate_before_the_baseline_is_judged_whole(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    strict = replace(long_setting, quality_limit=-50.0, store=str(tmp_path / "store"))
    assert judged_with(strict, isolation, tmp_path).facts["evaluated_items"] == 320


def test_what_ended_early_beside_one_baseline_is_no_answer_beside_another(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    """The store is shared by all searches: another may have the same limit, another baseline."""
    own = builtin_catalog().complete({**PRUNED, "pruning_ratio": 0.25})
    strict = replace(long_setting, quality_limit=-50.0)
    assert judged_with(strict, isolation, tmp_path, own).facts["evaluated_items"] == 40
    other = builtin_catalog().complete({**PRUNED, "pruning_ratio": 0.5})
    elsewhere = replace(strict, baseline=dict(other))
    judged_with(elsewhere, isolation, tmp_path, other)
    assert "quality" not in judged_with(elsewhere, isolation, tmp_path, own).reused


def test_what_was_judged_whole_serves_every_limit(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    """What ended early at one limit serves that one only."""
    own = builtin_catalog().complete({**PRUNED, "pruning_ratio": 0.125})
    for limit in (-50.0, -60.0):
        early = replace(long_setting, quality_limit=limit)
        found = judged_with(early, isolation, tmp_path, own)
        assert found.facts["evaluated_items"] == 40
        assert "quality" not in found.reused
    whole = judged_with(long_setting, isolation, tmp_path, own)
    assert whole.facts["evaluated_items"] == 320
    served = judged_with(replace(long_setting, quality_limit=-70.0), isolation, tmp_path, own)
    assert "quality" in served.reused
    assert served.facts["evaluated_items"] == 320


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn counts as disturbed, however busy the machine is."""
    monkeypatch.setattr(
        Timing, "clean", property(lambda timing: np.ones(len(timing.blocks), dtype=bool))
    )


def patient(settings: EvaluationSettings) -> EvaluationSettings:
    """Nine turns end it on any machine: its interval is narrow enough, its time is never up."""
    protocol = replace(QUICK, seconds=30.0, turns=9, precision=100.0, reference=True)
    return replace(settings, protocol=protocol)


class Rule(InterimRule):
    """Stops where a function returns True of what was found; `seen` has all that was found."""

    def __init__(self, stops: Callable[[Evaluation], bool], speed_first: bool = False) -> None:
        self.seen: list[Evaluation] = []
        self.speed_first = speed_first
        self._stops = stops

    def interim_result(self, found: Evaluation) -> InterimResult:
        self.seen.append(found)
        stopped = self._stops(found)
        reason = "too slow" if stopped else ""
        return InterimResult(speed=speed_against(found), reason=reason, stopped=stopped)


def test_of_a_trial_that_is_too_slow_a_part_of_the_items_is_evaluated(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    settings = patient(replace(long_setting, store=str(tmp_path / "store")))
    evaluate(settings, builtin_catalog().complete(TORCH), isolation, tmp_path / "log")
    rule, stages = Rule(lambda found: True, speed_first=True), list[str]()
    found = evaluate(
        settings, PRUNED, isolation, tmp_path / "log", stages.append, interim_rule=rule
    )
    assert found.status == "ok", (found.message, found.log)
    assert stages == ["prepare", "build", "measure", "quality"]
    before, after = rule.seen
    assert "perplexity" not in before.measurements
    assert found.measurements["perplexity"] == after.measurements["perplexity"]
    assert found.facts["evaluated_items"] == 40
    assert found.interim is not None and found.interim.stopped
    assert found.warnings == ("too slow",)
    assert len(found.blocks) == INTERIM_TURNS
    again = evaluate(settings, PRUNED, isolation, tmp_path / "log")
    assert again.facts["evaluated_items"] == 320


def test_a_part_that_is_better_than_expected_lets_the_trial_run_to_its_end(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    settings = patient(replace(long_setting, store=str(tmp_path / "store")))
    evaluate(settings, builtin_catalog().complete(TORCH), isolation, tmp_path / "log")
    rule = Rule(lambda found: "perplexity" not in found.measurements, speed_first=True)
    stages = list[str]()
    found = evaluate(
        settings, PRUNED, isolation, tmp_path / "log", stages.append, interim_rule=rule
    )
    assert stages == ["prepare", "build", "measure", "quality", "quality", "measure"]
    assert found.facts["evaluated_items"] == 320
    assert found.interim is not None and not found.interim.stopped
    assert len(found.blocks) == 9
    assert found.seconds["total"] >= found.seconds["quality"] + found.seconds["measure"]


def test_speed_comes_first_only_while_quality_is_not_known(
    long_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    rule, stages = Rule(lambda found: False, speed_first=True), list[str]()
    own = builtin_catalog().complete({**TORCH, "batch_size": 2})
    settings = patient(long_setting)
    found = evaluate(settings, own, isolation, tmp_path / "log", stages.append, interim_rule=rule)
    assert stages == ["prepare", "build", "quality", "measure"]
    assert found.facts["evaluated_items"] == 320
    stages.clear()
    other = replace(settings, store=str(tmp_path / "store"))
    found = evaluate(other, own, isolation, tmp_path / "log", stages.append, interim_rule=rule)
    assert stages == ["prepare", "build", "measure", "quality"]
    assert found.facts["evaluated_items"] == 320
    assert len(found.blocks) == 9


def test_measuring_ends_where_the_first_look_says_so(
    long_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
) -> None:
    """Figures and items are those of a whole trial, its spread that of few turns."""
    settings = patient(long_setting)
    own = builtin_catalog().complete({**TORCH, "batch_size": 2})
    rule = Rule(lambda found: True)
    seen = rule.seen
    found = evaluate(settings, own, isolation, tmp_path / "log", interim_rule=rule)
    assert found.status == "ok", (found.message, found.log)
    assert len(seen) == 1
    assert len(found.blocks) == INTERIM_TURNS
    assert found.interim == InterimResult(
        speed=speed_against(seen[0]), reason="too slow", stopped=True
    )
    assert found.relative == seen[0].relative is not None
    assert found.items == seen[0].items
    assert found.warnings == ("too slow",)
    assert from_plain(Evaluation, json.loads(json.dumps(to_plain(found)))) == found
    whole = evaluate(settings, own, isolation, tmp_path / "log")
    assert len(whole.blocks) == 9
    assert whole.interim is not None
    assert not whole.interim.stopped
    assert whole.interim.reason == ""
