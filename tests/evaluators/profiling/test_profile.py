"""Sums over rows, and what bounds them."""

from dataclasses import replace

import pytest

from tunefront.evaluators.profiling.job import middle, middle_mean, passes_in
from tunefront.evaluators.profiling.profile import (
    Profile,
    ProfileRow,
    Roofline,
    RooflineBound,
    bound_of,
    merged,
    stacked,
)
from tunefront.evaluators.profiling.roofline import measure_roofline

PEAKS = Roofline(peak_gflops=100.0, peak_gb_s=10.0, matmul="fp32")
MS = 1e6  # operations that one GFLOP/s does in a millisecond; bytes that one GB/s moves in one


@pytest.mark.parametrize(
    ("flops", "moved", "bound"),
    [
        (90 * MS, 1 * MS, "compute"),
        (10 * MS, 9 * MS, "memory"),
        (24 * MS, 2 * MS, "overhead"),
        (26 * MS, 2 * MS, "compute"),
        (0.0, 0.0, "overhead"),
        (None, 9 * MS, "memory"),
        (None, 1 * MS, "unknown"),
        (0.0, 1 * MS, "overhead"),
        (None, None, "unknown"),
        (90 * MS, None, "compute"),
        (10 * MS, None, "unknown"),
    ],
)
def test_what_bounds_a_millisecond(
    flops: float | None, moved: float | None, bound: RooflineBound
) -> None:
    assert bound_of(1.0, flops, moved, PEAKS) == bound


def row(operator: str, self_ms: float, module: str | None = None, flops: float = 0.0) -> ProfileRow:
    return ProfileRow(
        operator=operator,
        kind="matmul" if flops else "memory",
        module=module,
        calls=2,
        self_ms=self_ms,
        flops=flops,
        moved_bytes=0.0,
    )


PROFILE = Profile(
    rows=[
        row("mm", 3.0, "layer.0.a", 300 * MS),
        row("mm", 3.0, "layer.1.a", 150 * MS),
        row("copy", 2.0, "layer.0.b"),
        row("view", 2.0),
    ],
    request_ms=8.0,
    profiled_ms=10.0,
    passes=3,
    requests=2,
    roofline=PEAKS,
    facts={},
)


def test_parts_add_up() -> None:
    kinds = {part.name: part for part in PROFILE.by_kind()}
    assert (kinds["matmul"].self_ms, kinds["matmul"].share) == (6.0, 0.6)
    assert kinds["matmul"].gflops == 75.0
    assert kinds["matmul"].bound == "compute"
    assert (kinds["memory"].bound, kinds["memory"].gflops) == ("overhead", None)
    assert [part.name for part in PROFILE.by_operator()] == ["mm", "copy", "view"]
    assert PROFILE.whole().flops == 450 * MS
    assert PROFILE.overhead == pytest.approx(0.25)
    assert PROFILE.bounds() == pytest.approx(
        {"compute": 0.6, "memory": 0, "overhead": 0.4, "unknown": 0}
    )


def test_operations_that_rows_can_not_tell_are_known_by_kind() -> None:
    untold = [replace(row, flops=None if row.flops else 0.0) for row in PROFILE.rows]
    found = replace(PROFILE, rows=untold, products={"matmul": 450 * MS})
    assert [part.flops for part in found.by_kind()] == [450 * MS, 0.0]
    assert [part.flops for part in found.by_operator()] == [None, 0.0, 0.0]
    assert found.whole().flops == 450 * MS


def test_layers_of_a_stack_are_one_module() -> None:
    assert stacked("encoder.layer.11.output") == "encoder.layer.*.output"
    told = {part.name: part.calls for part in PROFILE.by_module()}
    assert told == {"layer.*.a": 4, "layer.*.b": 2, "(no module)": 2}


def test_rows_of_several_requests_become_means() -> None:
    rows = merged([row("mm", 3.0, "a", 4.0), row("mm", 1.0, "a", 2.0), row("mm", 9.0, "b", 8.0)], 2)
    told = [(r.module, r.self_ms, r.calls, r.flops) for r in rows]
    assert told == [("b", 4.5, 1.0, 4.0), ("a", 2.0, 2.0, 3.0)]


def test_passes_that_were_disturbed_do_not_count() -> None:
    assert middle([5.0, 1.0, 9.0, 2.0, 3.0, 99.0, 4.0, 6.0]) == [0, 4, 6, 7]
    assert middle_mean([1.0, 2.0, 3.0, 99.0]) == 2.5
    assert middle([1.0, 2.0, 3.0]) == [0, 1, 2]
    assert (passes_in(1.0, 1e-3, 4), passes_in(1.0, 25.0, 4), passes_in(1.0, 1e4, 4)) == (24, 10, 3)


def test_the_roofline_of_this_machine_is_measured() -> None:
    found = measure_roofline("cpu", "fp32", "none", 1)
    assert found.peak_gflops > 0.1
    assert found.peak_gb_s > 0.1
    assert found.matmul.startswith("fp32 matrices of ")
    integers = measure_roofline("cpu", "fp32", "int8-dynamic", 1)
    assert integers.matmul.startswith(("int8 matrices of ", "fp32 matrices of "))
