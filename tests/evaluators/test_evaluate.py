"""The one path: real processes, real runtimes, a tiny model."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import (
    Evaluation,
    Isolation,
    Setting,
    WorkloadSpec,
    candidate_key,
    describe_workload,
    evaluate,
)
from tunefront.spaces import Configuration, WorkloadError

CORES = len(os.sched_getaffinity(0))
SPEED = {"latency_ms", "latency_p90_ms", "latency_p99_ms", "throughput", "tokens_per_second"}
MEMORY = {"peak_memory_mb", "model_memory_mb", "weights_mb"}


def run(setting: Setting, isolation: Isolation, folder: Path, **values: str | float) -> Evaluation:
    return evaluate(setting, Configuration(values), isolation, folder / "trial.log")


def test_an_evaluation_measures_everything(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    found = run(lm_setting, isolation, tmp_path, runtime="torch", batch_size=2, threads=1)
    assert found.status == "ok", (found.message, found.log)
    assert set(found.measurements) == SPEED | MEMORY | {"perplexity", "agreement"}
    for measurement in found.measurements.values():
        assert measurement.low <= measurement.value <= measurement.high
        assert measurement.samples >= 1
    assert found.measurements["agreement"].value == 1.0
    assert len(found.items[0]) == len(found.items[1]) == 24
    assert found.facts["runtime"] == "torch"
    assert Evaluation.from_dict(found.to_dict()) == found


def test_what_stages_produced_is_found_again(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    first: dict[str, str | float] = {"runtime": "onnxruntime", "batch_size": 1, "threads": 1}
    run(lm_setting, isolation, tmp_path, **first)
    again = run(lm_setting, isolation, tmp_path, **{**first, "batch_size": 4})
    assert {"candidate", "quality", "reference"} <= set(again.reused)
    assert again.seconds["build"] < 0.5


def test_keys_depend_on_choices_up_to_the_runtime_stage(lm_setting: Setting) -> None:
    base = Configuration({"runtime": "torch", "precision": "fp32", "batch_size": 1})
    same = Configuration({**base, "batch_size": 8, "threads": 2})
    other = Configuration({**base, "precision": "bf16"})
    assert candidate_key(lm_setting, base) == candidate_key(lm_setting, same)
    assert candidate_key(lm_setting, base) != candidate_key(lm_setting, other)
    moved = replace(lm_setting, fingerprint="another model")
    assert candidate_key(lm_setting, base) != candidate_key(moved, base)


def test_pruning_makes_the_model_smaller_and_is_found_again(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    whole = run(lm_setting, isolation, tmp_path, runtime="torch", threads=1)
    pruned = run(
        lm_setting,
        isolation,
        tmp_path,
        runtime="torch",
        pruning_ratio=0.5,
        pruning_method="ffn-channels",
        threads=1,
    )
    assert pruned.status == "ok", pruned.log
    assert pruned.facts["parameters"] < whole.facts["parameters"]
    other = run(
        lm_setting,
        isolation,
        tmp_path,
        runtime="onnxruntime",
        pruning_ratio=0.5,
        pruning_method="ffn-channels",
        threads=1,
    )
    # The same pruned module, from its stored plan and weights, in another runtime.
    assert other.status == "ok", other.log
    assert other.measurements["perplexity"].value == pytest.approx(
        pruned.measurements["perplexity"].value, rel=1e-4
    )


@pytest.mark.skipif(CORES < 2, reason="two replicas need two cores")
def test_replicas_share_the_work(lm_setting: Setting, isolation: Isolation, tmp_path: Path) -> None:
    found = run(lm_setting, isolation, tmp_path, runtime="torch", threads=1, replicas=2)
    assert found.status == "ok", (found.message, found.log)
    single = run(lm_setting, isolation, tmp_path, runtime="torch", threads=1)
    assert found.measurements["latency_ms"].samples > 0
    assert (
        found.measurements["model_memory_mb"].value > single.measurements["model_memory_mb"].value
    )


@pytest.mark.skipif(CORES < 2, reason="two ranks need two cores")
def test_two_gloo_ranks_share_every_matrix(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    found = run(lm_setting, isolation, tmp_path, runtime="torch", threads=1, tensor_parallel=2)
    assert found.status == "ok", (found.message, found.log)
    whole = run(lm_setting, isolation, tmp_path, runtime="torch", threads=1)
    assert found.measurements["agreement"].value == 1.0
    assert found.measurements["perplexity"].value == pytest.approx(
        whole.measurements["perplexity"].value, rel=1e-4
    )
    assert found.facts["parameters"] == whole.facts["parameters"]


def test_a_failure_names_cause_stage_and_log(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    found = run(
        lm_setting,
        isolation,
        tmp_path,
        runtime="torch",
        pruning_ratio=0.5,
        pruning_method="no-such-method",
        threads=1,
    )
    assert (found.status, found.cause, found.stage) == ("failed", "exception", "build")
    assert "no-such-method" in found.message
    assert any("KeyError" in line for line in found.log)
    assert not found.measurements


def test_a_choice_that_did_not_take_effect_is_a_failure(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    run(lm_setting, isolation, tmp_path, runtime="torch", precision="bf16", threads=1)
    configuration = Configuration({"runtime": "torch", "precision": "bf16", "threads": 1})
    wrong = Configuration({"runtime": "torch", "precision": "fp32", "threads": 1})
    # The store is told a lie: fp32's folder holds the bf16 build.
    store = Path(lm_setting.store)
    own, other = (candidate_key(lm_setting, c) for c in (configuration, wrong))
    lied = replace(lm_setting, store=str(tmp_path / "store"))
    target = tmp_path / "store" / other[:2] / other
    target.parent.mkdir(parents=True)
    target.symlink_to(store / own[:2] / own)
    found = evaluate(lied, wrong, isolation, tmp_path / "log")
    assert (found.status, found.cause) == ("failed", "not applied")
    assert "precision: fp32 asked for, but the running candidate has bf16" in found.message


def test_a_workload_that_can_not_be_read_is_refused(
    lm_spec: WorkloadSpec, isolation: Isolation, tmp_path: Path
) -> None:
    with pytest.raises(WorkloadError, match=r"missing\.jsonl is not a file"):
        describe_workload(replace(lm_spec, data="missing.jsonl"), isolation, tmp_path / "log")


def test_the_fingerprint_follows_the_data(
    lm_spec: WorkloadSpec, isolation: Isolation, tmp_path: Path
) -> None:
    first = describe_workload(lm_spec, isolation, tmp_path / "log")
    text = lm_spec.path("data.jsonl").read_text()
    (tmp_path / "data.jsonl").write_text(text + '{"text": "one more line of code"}\n')
    changed = replace(lm_spec, data=str(tmp_path / "data.jsonl"))
    second = describe_workload(changed, isolation, tmp_path / "log")
    assert first["fingerprint"] != second["fingerprint"]
