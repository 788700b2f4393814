"""A trace through the whole pipeline: replayed, kept under its content, nothing built again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    Protocol,
    WorkloadSpec,
    builtin_catalog,
    evaluate,
)
from tunefront.evaluators.interfaces.generation import LoadSpec

QUICK = Protocol(seconds=0.1, turns=3, requests=2, block_s=0.01, wait_s=0.0)
ROWS = [{"at_s": 0.02 * n, "input_tokens": 6, "output_tokens": 2 + n} for n in range(4)]


def test_a_changed_trace_is_replayed_and_builds_nothing_again(
    chat_spec: WorkloadSpec, isolation: Isolation, tmp_path: Path
) -> None:
    trace = tmp_path / "arrivals.jsonl"
    load = LoadSpec(trace=str(trace), output_tokens=4, shared_prefix=3)
    settings = EvaluationSettings(
        workload=replace(chat_spec, load=load, slo={"ttft_ms": 60_000.0}),
        fingerprint="f",
        store=str(tmp_path / "store"),
        protocol=QUICK,
    )
    configuration = builtin_catalog().complete({"runtime": "transformers", "max_batch": 2})
    reused = []
    for slower in (1.0, 3.0):
        rows = [{**row, "at_s": slower * row["at_s"]} for row in ROWS]
        trace.write_text("\n".join(map(json.dumps, rows)))
        found = evaluate(settings, configuration, isolation, tmp_path / "log")
        assert found.status == "ok", found.message
        reused.append(set(found.reused))
        # Four requests in four mean gaps at the most, fewer in a second if the engine is slow.
        rate = found.measurements["requests_per_second"].value
        assert 0 < rate < 1.05 * 4 / (slower * 0.06)
        tokens = found.measurements["output_tokens_per_second"].value
        assert tokens == pytest.approx(rate * (2 + 3 + 4 + 5) / 4)
        assert found.measurements["goodput"].value == rate
    assert reused == [set(), {"candidate", "reference", "quality"}]
