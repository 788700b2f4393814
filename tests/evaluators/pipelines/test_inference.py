"""The one path: real processes, real runtimes, a tiny model."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluators.conftest import QUICK, TORCH
from tests.extensions.toy_measure.toy_measure import PageFaults
from tests.processors import PROCESSORS, hardware_with

from tunefront.evaluators import (
    BUILTIN_MEASURES,
    Evaluation,
    EvaluationSettings,
    InterleavedRun,
    Isolation,
    Protocol,
    Store,
    TargetResult,
    Timing,
    WorkloadSpec,
    builtin_catalog,
    candidate_key,
    describe_workload,
    energy_is_counted,
    evaluate,
    profile_candidate,
    target_of,
)
from tunefront.evaluators.benchmark.outcome import (
    machine_warnings,
    measured,
    relative_throughput,
    warnings_of,
)
from tunefront.evaluators.isolation import gpus
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.pipelines.inference import InferencePipeline
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block
from tunefront.spaces import Configuration, SpaceError, WorkloadError

CORES = len(os.sched_getaffinity(0))
SPEED = {"latency_ms", "latency_p90_ms", "latency_p99_ms", "throughput", "tokens_per_second"}
MEMORY = {"peak_memory_mb", "model_memory_mb", "weights_mb"}


def run(
    settings: EvaluationSettings, isolation: Isolation, folder: Path, **values: str | float
) -> Evaluation:
    return evaluate(settings, builtin_catalog().complete(values), isolation, folder / "trial.log")


def test_an_evaluation_measures_everything(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    found = run(lm_setting, isolation, tmp_path, runtime="torch", batch_size=2, threads=1)
    assert found.status == "ok", (found.message, found.log)
    counted = {"energy_per_item"} if energy_is_counted() else set[str]()
    assert set(found.measurements) == SPEED | MEMORY | counted | {"perplexity", "agreement"}
    assert found.relative is None
    assert len(found.blocks) >= lm_setting.protocol.turns
    assert (found.facts["evaluated_items"], found.facts["items"]) == (24, 24)
    assert found.facts["clock"] in ("cpu", "wall")
    for measurement in found.measurements.values():
        assert measurement.low <= measurement.value <= measurement.high
        assert measurement.samples >= 1
    assert found.measurements["agreement"].value == 1.0
    assert len(found.items[0]) == len(found.items[1]) == 24
    assert found.facts["runtime"] == "torch"
    assert from_plain(Evaluation, to_plain(found)) == found


def test_a_user_s_measure_adds_its_metrics(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    found = evaluate(
        lm_setting,
        builtin_catalog().complete({"runtime": "torch", "batch_size": 2, "threads": 1}),
        isolation,
        tmp_path / "trial.log",
        measures=(*BUILTIN_MEASURES, PageFaults()),
    )
    assert found.status == "ok", (found.message, found.log)
    assert found.measurements.keys() > MEMORY
    assert found.measurements["page_faults"].value > 100
    assert found.machine["foreign"] >= 0.0


def test_without_measures_speed_and_size_are_left(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    chosen = builtin_catalog().complete({"runtime": "torch", "batch_size": 2, "threads": 1})
    found = evaluate(lm_setting, chosen, isolation, tmp_path / "trial.log", measures=())
    assert found.status == "ok", (found.message, found.log)
    quality = {"perplexity", "agreement"}
    assert set(found.measurements) == SPEED | quality | {"weights_mb"}
    assert found.machine == {}


def test_waiting_for_cores_is_no_stage_s_time(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others hold them for half a second each time, which is what is waited, and more."""
    module: Any = gpus
    plain = module.lease_cores

    @contextmanager
    def late(count: int, **terms: Any) -> Iterator[Sequence[int]]:
        time.sleep(0.5)
        with plain(count, **terms) as cores:
            yield cores

    monkeypatch.setattr(module, "lease_cores", late)
    found = run(lm_setting, isolation, tmp_path, runtime="torch", batch_size=2, threads=1)
    assert found.status == "ok", (found.message, found.log)
    assert found.seconds["waiting"] >= 1.5
    stages = sum(found.seconds[stage] for stage in InferencePipeline.stages)
    assert found.own_s == found.seconds["total"] - found.seconds["waiting"]
    assert stages <= found.own_s + 1e-6


def test_what_stages_produced_is_found_again(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    first: dict[str, str | float] = {"runtime": "onnxruntime", "batch_size": 1, "threads": 1}
    run(lm_setting, isolation, tmp_path, **first)
    again = run(lm_setting, isolation, tmp_path, **{**first, "batch_size": 4})
    assert {"candidate", "quality", "reference"} <= set(again.reused)
    assert again.seconds["build"] < 0.5


def test_the_baseline_runs_beside_a_candidate(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    """The ratio is one of items a second, whatever the batch sizes, and comes within turns."""
    settings = replace(lm_setting, baseline=TORCH)
    own = builtin_catalog().complete({**TORCH, "runtime": "onnxruntime", "batch_size": 4})
    found = evaluate(settings, own, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    relative = found.relative
    assert relative is not None
    assert relative.unit == "x"
    assert 3 <= relative.samples <= len(found.blocks)
    assert 0 < relative.low <= relative.value <= relative.high
    assert from_plain(Evaluation, to_plain(found)) == found
    assert from_plain(EvaluationSettings, json.loads(json.dumps(to_plain(settings)))) == settings


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"baseline": {}}, id="no-baseline"),
        pytest.param({"protocol": replace(QUICK, reference=False)}, id="not-wanted"),
        pytest.param({"baseline": {**TORCH, "runtime": "onnxruntime"}}, id="itself"),
    ],
)
def test_where_nothing_can_be_compared_a_candidate_runs_alone(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = replace(lm_setting, **{"baseline": TORCH, **changes})
    own = builtin_catalog().complete({**TORCH, "runtime": "onnxruntime"})
    found = evaluate(settings, own, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.relative is None


def test_a_candidate_that_fails_beside_the_baseline_is_told_by_its_own_failure(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    """The candidate's built files are damaged, so that it can't be loaded."""
    settings = replace(lm_setting, store=str(tmp_path / "store"), baseline=TORCH)
    own = builtin_catalog().complete({**TORCH, "runtime": "onnxruntime"})
    assert evaluate(settings, own, isolation, tmp_path / "log").status == "ok"
    for path in setting_candidate(settings, own).glob("*.onnx"):
        path.write_bytes(b"damaged")
    found = evaluate(settings, own, isolation, tmp_path / "log")
    assert (found.status, found.stage) == ("failed", "measure")
    assert "onnx" in found.message.lower()


def setting_candidate(settings: EvaluationSettings, configuration: Configuration) -> Path:
    """The folder of a built candidate."""
    return Store(Path(settings.store)).path(candidate_key(settings, configuration))


def test_a_baseline_that_does_not_fit_into_memory_stays_out(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = sys.modules["tunefront.evaluators.pipelines.memory_estimate"]
    monkeypatch.setattr(module, "LIBRARIES_MB", 1e9)
    settings = replace(lm_setting, baseline=TORCH)
    own = builtin_catalog().complete({**TORCH, "runtime": "onnxruntime"})
    found = evaluate(settings, own, isolation, tmp_path / "log")
    assert found.status == "ok", (found.message, found.log)
    assert found.relative is None


def test_the_relative_throughput_is_one_of_items() -> None:
    """Twice the passes a second, each of four times the items: eight times the items."""

    def timing(seconds: float, batch_size: int) -> Timing:
        block = Block(request_s=np.full((1, 2), seconds), cpu_s=seconds, wait_s=0.0)
        return Timing(blocks=[[block]] * 6, items=2 * batch_size)

    found = relative_throughput(timing(0.05, 4), timing(0.1, 1))
    assert (found.value, found.low, found.high) == pytest.approx((8.0, 8.0, 8.0))
    assert found.samples == 6


QUIET = {"load": 0.1, "steal": 0.0, "foreign": 0.0}


def test_warnings_of_measures_are_those_of_the_evaluation() -> None:
    block = Block(request_s=np.ones((1, 1)), cpu_s=1.0, wait_s=0.0)
    timing = Timing(blocks=[[block]] * 6, items=1)
    own = TargetResult(timing=timing, measurements={}, facts={}, warnings=("not alone",))
    run = InterleavedRun(target_results=[own], machine=QUIET, waited_s=0.0)
    assert measured(Protocol(), run).warnings[-1] == "not alone"


def turns(seconds: Sequence[float], waited: Sequence[float] | None = None) -> Timing:
    waits = waited or [0.0] * len(seconds)
    blocks = [
        [Block(request_s=np.full((1, 1), each), cpu_s=each, wait_s=wait)]
        for each, wait in zip(seconds, waits, strict=True)
    ]
    return Timing(blocks=blocks, items=1)


WILD = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("timing", "machine", "told"),
    [
        (turns([1.0] * 7), QUIET, ()),
        (turns(WILD), QUIET, ("interval ± 72 %, wanted ± 3 %",)),
        (turns([1.0] * 7, [0.0] * 4 + [1.0] * 3), QUIET, ()),
        (
            turns([1.0] * 7, [0.0, 0.0, *[1.0] * 5]),
            QUIET,
            ("other processes used the cores in 5 of 7 turns",),
        ),
        (
            turns([1.0] * 7),
            {**QUIET, "steal": 0.06},
            ("the hypervisor took 6 % of the time",),
        ),
    ],
)
def test_doubts_are_told_in_words(
    timing: Timing, machine: dict[str, float], told: tuple[str, ...]
) -> None:
    assert (*warnings_of(timing, Protocol(), None), *machine_warnings(machine)) == told


def test_few_requests_for_a_percentile_that_decides_are_doubted() -> None:
    protocol = Protocol(percentiles={"": 0.99})
    assert warnings_of(turns([1.0] * 7), protocol, None) == (
        "7 independent requests were timed; the 99 % percentile takes 368",
    )


def test_turns_that_depend_on_one_another_are_doubted() -> None:
    """A slow phase and a fast one: 40 turns tell as much as a few."""
    phases = [1.0 + 0.01 * (turn // 10 % 2) for turn in range(40)]
    assert warnings_of(turns(phases), Protocol(), None) == (
        "turns are not independent: the correlation of consecutive ones is 0.9",
    )


def test_dependent_turns_widen_the_ratio() -> None:
    def against(seconds: Sequence[float]) -> Measurement:
        own, base = turns(seconds), turns([1.0] * len(seconds))
        return relative_throughput(own, base)

    random = np.random.default_rng(0)
    noise = np.exp(0.01 * random.normal(size=24))
    mixed, sorted_ones = against(noise.tolist()), against(np.sort(noise).tolist())
    assert sorted_ones.value == pytest.approx(mixed.value)
    assert sorted_ones.high - sorted_ones.low > 2 * (mixed.high - mixed.low)


def test_what_drifts_together_with_the_baseline_is_not_doubted() -> None:
    assert warnings_of(turns(WILD), Protocol(), turns(WILD)) == ()


def test_keys_depend_on_choices_up_to_the_runtime_stage(lm_setting: EvaluationSettings) -> None:
    base = builtin_catalog().complete({"runtime": "torch", "precision": "fp32", "batch_size": 1})
    same = builtin_catalog().complete({**base, "batch_size": 8, "threads": 2})
    other = builtin_catalog().complete({**base, "precision": "bf16"})
    assert candidate_key(lm_setting, base) == candidate_key(lm_setting, same)
    assert candidate_key(lm_setting, base) != candidate_key(lm_setting, other)
    moved = replace(lm_setting, fingerprint="another model")
    assert candidate_key(lm_setting, base) != candidate_key(moved, base)


def test_keys_depend_on_the_processor(
    lm_setting: EvaluationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built for one without VNNI has narrower weights."""
    configuration = builtin_catalog().complete(
        {"runtime": "onnxruntime", "quantization_bits": 8, "quantization_method": "dynamic"}
    )
    evaluate_module = sys.modules[candidate_key.__module__]
    keys: set[str] = set()
    for processor in PROCESSORS:
        here = partial(hardware_with, processor)
        monkeypatch.setattr(evaluate_module, "detect_hardware", here)
        keys.add(candidate_key(lm_setting, configuration))
    assert len(keys) == len(PROCESSORS)


def test_pruning_makes_the_model_smaller_and_is_found_again(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
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
def test_replicas_share_the_work(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    found = run(lm_setting, isolation, tmp_path, runtime="torch", threads=1, replicas=2)
    assert found.status == "ok", (found.message, found.log)
    single = run(lm_setting, isolation, tmp_path, runtime="torch", threads=1)
    assert found.measurements["latency_ms"].samples > 0
    assert (
        found.measurements["model_memory_mb"].value > single.measurements["model_memory_mb"].value
    )


@pytest.mark.skipif(CORES < 2, reason="two ranks need two cores")
def test_two_gloo_ranks_share_every_matrix(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
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
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
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
    assert any("SpaceError" in line for line in found.log)
    assert not found.measurements


def test_a_choice_that_did_not_take_effect_is_a_failure(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    run(lm_setting, isolation, tmp_path, runtime="torch", precision="bf16", threads=1)
    configuration = builtin_catalog().complete(
        {"runtime": "torch", "precision": "bf16", "threads": 1}
    )
    wrong = builtin_catalog().complete({"runtime": "torch", "precision": "fp32", "threads": 1})
    # The store is told a lie: fp32's folder holds the bf16 build.
    store = Path(lm_setting.store)
    own, other = (candidate_key(lm_setting, c) for c in (configuration, wrong))
    lied = replace(lm_setting, store=str(tmp_path / "store"))
    target = tmp_path / "store" / other[:2] / other
    target.parent.mkdir(parents=True)
    shutil.copytree(store / own[:2] / own, target)
    found = evaluate(lied, wrong, isolation, tmp_path / "log")
    assert (found.status, found.cause) == ("failed", "not applied")
    assert "precision: fp32 requested, but the running candidate has bf16" in found.message


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
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("missing", builtin_catalog().kinds)
def test_a_configuration_that_is_not_complete_is_refused_with_the_missing_choice(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path, missing: str
) -> None:
    values = {name: value for name, value in TORCH.items() if name != missing}
    told = f"^{missing}: every choice must have a value here, but the configuration"
    with pytest.raises(SpaceError, match=told):
        evaluate(lm_setting, Configuration(values), isolation, tmp_path / "log")
    with pytest.raises(SpaceError, match=told):
        profile_candidate(
            lm_setting, Configuration(values), isolation, tmp_path / "log", tmp_path / "trace"
        )
    with pytest.raises(SpaceError, match=told):
        candidate_key(lm_setting, Configuration(values))
    with pytest.raises(SpaceError, match=told):
        target_of(lm_setting, Configuration(values), isolation, tmp_path / "log")
    assert list(tmp_path.iterdir()) == []
