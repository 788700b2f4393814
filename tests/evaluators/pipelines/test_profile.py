"""Profiles of real candidates: real runtimes and their own profilers, a tiny model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evaluators.conftest import TORCH

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    Profile,
    builtin_catalog,
    profile_candidate,
)
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.profiling.profile import BETWEEN
from tunefront.spaces import EvaluationError, WorkloadError

Profiled = Callable[..., tuple[Profile, Path]]


@pytest.fixture
def profiled(lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path) -> Profiled:
    """A configuration's profile, and its trace."""

    def make(**values: str | int) -> tuple[Profile, Path]:
        chosen = builtin_catalog().complete({**TORCH, **values})
        trace = tmp_path / "trace.json"
        log = tmp_path / "log"
        return profile_candidate(lm_setting, chosen, isolation, log, trace), trace

    return make


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_rows_are_all_of_the_request_and_the_trace_opens(profiled: Profiled, runtime: str) -> None:
    found, trace = profiled(runtime=runtime, batch_size=2)
    assert sum(row.self_ms for row in found.rows) == pytest.approx(found.profiled_ms)
    assert sum(part.share for part in found.by_kind()) == pytest.approx(1)
    assert sum(found.bounds().values()) == pytest.approx(1)
    assert found.request_ms > 0
    assert found.facts["runtime"] == runtime
    assert found.requests == 4  # a part of eight items
    assert {"matmul", "overhead"} <= {part.name for part in found.by_kind()}
    matmul = next(part for part in found.by_kind() if part.name == "matmul")
    assert matmul.flops is not None and matmul.flops > 0
    assert matmul.moved_bytes is not None and matmul.moved_bytes > 0
    assert BETWEEN in {row.operator for row in found.rows}
    events = json.loads(trace.read_text())["traceEvents"]
    assert len([event for event in events if event.get("ph") == "X"]) >= 10
    assert found == from_plain(Profile, json.loads(json.dumps(to_plain(found))))


def test_operators_of_a_program_are_told_by_module(profiled: Profiled) -> None:
    found, _ = profiled(replicas=2)
    assert found.notes == ["one of 2 replicas, alone: it can be slower when all of them run"]
    linear = [row for row in found.rows if row.operator == "aten::linear"]
    assert linear and {row.kind for row in linear} == {"matmul"}
    modules = {row.module or "" for row in linear}
    assert any(name.endswith("layers.0.self_attn.q_proj") for name in modules), modules
    norms = {r.kind for r in found.rows if (r.module or "").endswith("input_layernorm")}
    assert "normalisation" in norms
    stacked = {part.name for part in found.by_module()}
    assert any(name.endswith("layers.*.mlp.up_proj") for name in stacked), stacked
    assert not any(".layers.0." in name for name in stacked)


def test_a_runtime_without_a_profiler_says_so(profiled: Profiled) -> None:
    told = (
        "runtime onnx-web has no profiler; trials of torch, inductor, onnxruntime, openvino can be "
        "profiled"
    )
    with pytest.raises(EvaluationError, match=told) as found:
        profiled(runtime="onnx-web")
    assert found.value.cause == "unsupported"


def test_a_model_that_processes_share_is_refused(profiled: Profiled) -> None:
    with pytest.raises(EvaluationError, match="several processes share can't be profiled") as told:
        profiled(tensor_parallel=2)
    assert told.value.cause == "unsupported"


def test_a_candidate_that_does_not_build_says_why(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    broken = replace(lm_setting, workload=replace(lm_setting.workload, model="nowhere"))
    with pytest.raises(WorkloadError, match="nowhere"):
        profile_candidate(
            replace(broken, fingerprint="other"),
            builtin_catalog().complete(TORCH),
            isolation,
            tmp_path / "log",
            tmp_path / "trace.json",
        )
