"""The one path: real processes, real runtimes, a tiny model."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import (
    Evaluation,
    Isolation,
    Protocol,
    Setting,
    Sitting,
    Store,
    Timing,
    WorkloadSpec,
    candidate_key,
    describe_workload,
    energy_is_counted,
    evaluate,
)
from tunefront.evaluators.evaluate import doubts_of, relative_throughput
from tunefront.evaluators.eviction import clear, shelves
from tunefront.evaluators.measures.speed import Block
from tunefront.spaces import Configuration, Value, WorkloadError

from .conftest import QUICK

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
    counted = {"energy_per_item"} if energy_is_counted() else set[str]()
    assert set(found.measurements) == SPEED | MEMORY | counted | {"perplexity", "agreement"}
    assert found.relative is None
    assert len(found.blocks) >= lm_setting.protocol.turns
    assert (found.facts["judged"], found.facts["items"]) == (24, 24)
    assert found.facts["clock"] in ("cpu", "wall")
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


TORCH: Mapping[str, Value] = {"runtime": "torch", "threads": 1, "batch_size": 1}


def test_the_baseline_runs_beside_a_candidate(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    """The ratio is one of items a second, whatever the batch sizes, and comes within turns."""
    setting = replace(lm_setting, baseline=TORCH)
    own = Configuration({**TORCH, "runtime": "onnxruntime", "batch_size": 4})
    found = evaluate(setting, own, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    relative = found.relative
    assert relative is not None
    assert relative.unit == "x"
    assert 3 <= relative.samples <= len(found.blocks)
    assert 0 < relative.low <= relative.value <= relative.high
    assert Evaluation.from_dict(found.to_dict()) == found
    assert Setting.from_dict(json.loads(json.dumps(setting.to_dict()))) == setting


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"baseline": {}}, id="no-baseline"),
        pytest.param({"protocol": replace(QUICK, reference=False)}, id="not-wanted"),
        pytest.param({"baseline": {**TORCH, "runtime": "onnxruntime"}}, id="itself"),
        pytest.param({"baseline": {**TORCH, "device": "cuda"}}, id="elsewhere"),
    ],
)
def test_where_nothing_can_be_compared_a_candidate_runs_alone(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path, changes: dict[str, Any]
) -> None:
    setting = replace(lm_setting, **{"baseline": TORCH, **changes})
    own = Configuration({**TORCH, "runtime": "onnxruntime"})
    found = evaluate(setting, own, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.relative is None


def test_a_candidate_that_fails_beside_the_baseline_is_told_by_its_own_failure(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    """The candidate's built files are damaged, so that it can't be loaded."""
    setting = replace(lm_setting, store=str(tmp_path / "store"), baseline=TORCH)
    own = Configuration({**TORCH, "runtime": "onnxruntime"})
    assert evaluate(setting, own, isolation, tmp_path / "log").status == "ok"
    for path in setting_candidate(setting, own).glob("*.onnx"):
        path.write_bytes(b"damaged")
    found = evaluate(setting, own, isolation, tmp_path / "log")
    assert (found.status, found.stage) == ("failed", "measure")
    assert "onnx" in found.message.lower()


def setting_candidate(setting: Setting, configuration: Configuration) -> Path:
    """The folder of a built candidate."""
    return Store(Path(setting.store)).path(candidate_key(setting, configuration))


def test_a_baseline_that_does_not_fit_into_memory_stays_out(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["tunefront.evaluators.evaluate"], "ROOM_MB", 1e9)
    setting = replace(lm_setting, baseline=TORCH)
    own = Configuration({**TORCH, "runtime": "onnxruntime"})
    found = evaluate(setting, own, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.relative is None


def test_the_relative_throughput_is_one_of_items() -> None:
    """Twice the passes a second, each of four times the items: eight times the items."""

    def sitting(seconds: float, batch_size: int) -> Sitting:
        block = Block(request_s=np.full((1, 2), seconds), cpu_s=seconds, wait_s=0.0)
        requests = [{"x": np.zeros((batch_size, 1))}] * 2
        timing = Timing(blocks=[[block]] * 6, requests=requests)
        return Sitting(timing=timing, measurements={}, facts={})

    found = relative_throughput(sitting(0.05, 4), sitting(0.1, 1))
    assert (found.value, found.low, found.high) == pytest.approx((8.0, 8.0, 8.0))
    assert found.samples == 6


QUIET = {"load": 0.1, "steal": 0.0, "foreign": 0.0}


def turns(seconds: Sequence[float], waited: Sequence[float] | None = None) -> Timing:
    waits = waited or [0.0] * len(seconds)
    blocks = [
        [Block(request_s=np.full((1, 1), each), cpu_s=each, wait_s=wait)]
        for each, wait in zip(seconds, waits, strict=True)
    ]
    return Timing(blocks=blocks, requests=[{"x": np.zeros((1, 1))}])


WILD = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("timing", "machine", "told"),
    [
        (turns([1.0] * 7), QUIET, ()),
        (turns(WILD), QUIET, ("interval ±72%, wanted ±3%",)),
        (turns([1.0] * 7, [0.0] * 4 + [1.0] * 3), QUIET, ()),
        (
            turns([1.0] * 7, [0.0, 0.0, *[1.0] * 5]),
            QUIET,
            ("others took the cores in 5 of 7 turns",),
        ),
        (
            turns([1.0] * 7),
            {**QUIET, "steal": 0.06},
            ("the hypervisor took 6% of the time",),
        ),
        (
            turns([1.0] * 7),
            {**QUIET, "gpu_throttled": 1.0},
            ("the GPU's clock was held down for heat or power",),
        ),
        (turns([1.0] * 7), {**QUIET, "gpu_throttled": 0.0}, ()),
    ],
)
def test_doubts_are_told_in_words(
    timing: Timing, machine: dict[str, float], told: tuple[str, ...]
) -> None:
    assert doubts_of(timing, machine, Protocol(), None) == told


def test_what_drifts_together_with_the_baseline_is_not_doubted() -> None:
    assert doubts_of(turns(WILD), QUIET, Protocol(), turns(WILD)) == ()


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


# Disks


def test_nothing_is_built_where_room_is_short(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = replace(lm_setting, store=str(tmp_path / "store"))
    own = Configuration(TORCH)
    monkeypatch.setattr(sys.modules["tunefront.evaluators.evaluate"], "LEAST_FREE_BYTES", 2**60)
    found = evaluate(setting, own, isolation, tmp_path / "log")
    assert (found.status, found.cause, found.stage) == ("failed", "disk full", "prepare")
    assert f"{setting.store}: " in found.message
    assert "1073741824.00 GB are needed to build" in found.message
    assert "`tunefront cache --limit SIZE`" in found.message
    assert not list((tmp_path / "store").glob("*/*"))
    monkeypatch.undo()
    assert evaluate(setting, own, isolation, tmp_path / "log").status == "ok"
    monkeypatch.setattr(sys.modules["tunefront.evaluators.evaluate"], "LEAST_FREE_BYTES", 2**60)
    # What is found needs no room.
    assert evaluate(setting, own, isolation, tmp_path / "log").status == "ok"


def test_a_large_model_needs_more_room(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times its weights, where that is more than the floor."""
    module = sys.modules["tunefront.evaluators.evaluate"]
    asked: list[int] = []
    monkeypatch.setattr(module, "make_room", lambda _, needed: asked.append(needed))
    monkeypatch.setattr(module, "LEAST_FREE_BYTES", 10)
    setting = replace(lm_setting, store=str(tmp_path / "store"))
    evaluate(setting, Configuration(TORCH), isolation, tmp_path / "log")
    weights = lm_setting.workload.path("model") / "model.safetensors"
    assert set(asked) == {3 * weights.stat().st_size}
    assert len(asked) == 4  # requests, candidate, reference, quality


ON_A_SMALL_DISK = """
import json, sys
from dataclasses import replace
from pathlib import Path
from tunefront.evaluators import Isolation, Setting, evaluate
from tunefront.spaces import Configuration

sys.modules["tunefront.evaluators.evaluate"].LEAST_FREE_BYTES = 0
sys.modules["tunefront.evaluators.evaluate"].MODEL_COPIES = 0
store = Path(sys.argv[2])
setting = replace(Setting.from_dict(json.loads(sys.argv[1])), store=str(store))
isolation = Isolation()
for choices in (
    {"runtime": "torch"},
    {"runtime": "onnxruntime"},
    {"runtime": "openvino"},
    {"runtime": "torch", "pruning_ratio": 0.5, "pruning_method": "ffn-channels"},
):
    own = Configuration({**choices, "threads": 1, "batch_size": 1})
    found = evaluate(setting, own, isolation, Path(sys.argv[3]))
    left = [p.name for p in store.glob("*/.*") if p.is_dir()]
    print(json.dumps([found.status, found.cause, found.stage, left, found.message]))
isolation.close()
"""


def test_a_disk_that_fills_up_is_the_cause_whatever_is_written(
    lm_setting: Setting, tmp_path: Path
) -> None:
    """A store on a file system that holds the requests, but no candidate.

    Only some say so: torch's and OpenVINO's writers merely fail, or end their process.
    """
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=256k tmpfs "$1" && exec "$0" -c "$2" "$3" "$1" "$4"'
    arguments = [str(small), ON_A_SMALL_DISK, json.dumps(lm_setting.to_dict())]
    done = subprocess.run(
        [*alone, "sh", "-c", script, sys.executable, *arguments, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry[:4] for entry in found] == [["failed", "disk full", "build", []]] * 4, found


def test_a_candidate_that_is_being_measured_is_not_evicted(
    lm_setting: Setting, isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However hard somebody tries, beside its turns."""
    setting = replace(lm_setting, store=str(tmp_path / "store"), baseline=TORCH)
    own = Configuration({**TORCH, "runtime": "onnxruntime"})
    module: Any = sys.modules["tunefront.evaluators.evaluate"]
    plain = module.take_turns
    kept: list[list[bool]] = []

    def clear_and_take_turns(setting: Setting, contenders: Sequence[Any], *rest: Any) -> Any:
        def enough(timings: Sequence[Timing], elapsed_s: float) -> bool:
            clear(shelves(tmp_path / "store"))
            read = [folder for c in contenders for folder in (c.candidate, c.requests)]
            kept.append([folder.is_dir() for folder in read])
            return bool(rest[-1](timings, elapsed_s))

        return plain(setting, contenders, *rest[:-1], enough)

    monkeypatch.setattr(module, "take_turns", clear_and_take_turns)
    found = evaluate(setting, own, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.relative is not None
    assert kept and all(all(there) for there in kept)
    assert len(kept[0]) == 4
    clear(shelves(tmp_path / "store"))
    assert not list((tmp_path / "store").glob("*/*"))


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


# Judging that ends early


@pytest.fixture(scope="module")
def long_setting(
    lm_spec: WorkloadSpec, isolation: Isolation, tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    """The tiny model with 320 texts (looks after 40, 80, 160), its baseline judged."""
    folder = tmp_path_factory.mktemp("long")
    rows = lm_spec.path("data.jsonl").read_text().splitlines()
    (folder / "data.jsonl").write_text("\n".join((rows * 14)[:320]) + "\n")
    spec = replace(lm_spec, data=str(folder / "data.jsonl"))
    described = describe_workload(spec, isolation, folder / "log")
    setting = Setting(
        workload=spec,
        fingerprint=described["fingerprint"],
        store=str(folder / "store"),
        protocol=replace(QUICK, reference=False),
        baseline=TORCH,
    )
    found = evaluate(setting, Configuration(TORCH), isolation, folder / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.facts["judged"] == 320
    return setting


PRUNED = Configuration({**TORCH, "pruning_ratio": 0.75, "pruning_method": "ffn-channels"})


def judged_with(
    setting: Setting, isolation: Isolation, folder: Path, configuration: Configuration = PRUNED
) -> Evaluation:
    found = evaluate(setting, configuration, isolation, folder / "log")
    assert found.status == "ok", (found.message, found.log)
    return found


def test_judging_ends_early_where_the_limit_is_decided(
    long_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    """-50 % is broken by everything: decided at the first look, one in eight items."""
    strict = replace(long_setting, quality_limit=-50.0)
    found = judged_with(strict, isolation, tmp_path)
    values, weights = (np.array(part) for part in found.items)
    assert found.facts["judged"] == (weights > 0).sum() == 40
    assert found.facts["items"] == len(weights) == 320
    mean = float(np.average(values, weights=weights))
    assert found.measurements["perplexity"].value == pytest.approx(np.exp(mean), rel=1e-5)
    assert found.measurements["perplexity"].samples == 40
    again = judged_with(strict, isolation, tmp_path)
    assert "quality" in again.reused
    assert again.items == found.items


def test_a_limit_that_is_kept_ends_judging_where_quality_is_no_objective(
    long_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    lax = replace(long_setting, quality_limit=1e6, quality_matters=False)
    assert judged_with(lax, isolation, tmp_path).facts["judged"] == 40
    mattering = replace(lax, quality_matters=True)
    assert judged_with(mattering, isolation, tmp_path).facts["judged"] == 320


def test_the_baseline_is_always_judged_whole(
    long_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    strict = replace(long_setting, quality_limit=-50.0, store=str(tmp_path / "store"))
    other_batch = Configuration({**TORCH, "batch_size": 2})
    for configuration in (Configuration(TORCH), other_batch):
        found = judged_with(strict, isolation, tmp_path, configuration)
        assert found.facts["judged"] == 320


def test_a_candidate_before_the_baseline_is_judged_whole(
    long_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    strict = replace(long_setting, quality_limit=-50.0, store=str(tmp_path / "store"))
    assert judged_with(strict, isolation, tmp_path).facts["judged"] == 320


def test_what_ended_early_beside_one_baseline_is_no_answer_beside_another(
    long_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    """The store is shared by all searches: another may have the same limit, another baseline."""
    own = Configuration({**PRUNED, "pruning_ratio": 0.25})
    strict = replace(long_setting, quality_limit=-50.0)
    assert judged_with(strict, isolation, tmp_path, own).facts["judged"] == 40
    other = Configuration({**PRUNED, "pruning_ratio": 0.5})
    elsewhere = replace(strict, baseline=dict(other))
    judged_with(elsewhere, isolation, tmp_path, other)
    assert "quality" not in judged_with(elsewhere, isolation, tmp_path, own).reused


def test_what_was_judged_whole_serves_every_limit(
    long_setting: Setting, isolation: Isolation, tmp_path: Path
) -> None:
    """What ended early at one limit serves that one only."""
    own = Configuration({**PRUNED, "pruning_ratio": 0.125})
    for limit in (-50.0, -60.0):
        early = replace(long_setting, quality_limit=limit)
        found = judged_with(early, isolation, tmp_path, own)
        assert found.facts["judged"] == 40
        assert "quality" not in found.reused
    whole = judged_with(long_setting, isolation, tmp_path, own)
    assert whole.facts["judged"] == 320
    served = judged_with(replace(long_setting, quality_limit=-70.0), isolation, tmp_path, own)
    assert "quality" in served.reused
    assert served.facts["judged"] == 320
