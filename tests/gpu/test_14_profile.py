"""A profile's rows add up to the request."""

import pytest

from tunefront.evaluators import WorkloadSpec, profile_candidate

from .harness import Bench, CheckFigures


@pytest.mark.takes(8)
def test_rows_add_up_to_the_request(
    bench: Bench, workloads: dict[str, WorkloadSpec], figures: CheckFigures
) -> None:
    chosen = bench.mode.configuration(precision="bf16", batch_size=8)
    trace = bench.log.with_name("trace.json")
    settings = bench.settings(workloads["encoder"])
    found = profile_candidate(settings, chosen, bench.isolation, bench.log, trace)
    parts = {part.name: part.self_ms for part in found.by_kind()}
    total = sum(row.self_ms for row in found.rows)
    figures(
        kinds=parts,
        rows=len(found.rows),
        total_ms=total,
        request_ms=found.request_ms,
        profiled_ms=found.profiled_ms,
        peaks=[found.roofline.peak_gflops, found.roofline.peak_gb_s],
        notes=list(found.notes),
    )
    assert trace.stat().st_size > 0
    assert "matmul" in parts
    if bench.mode.on_gpu:
        assert total == pytest.approx(found.request_ms, rel=0.2)
