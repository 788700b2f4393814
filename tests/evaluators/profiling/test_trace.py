"""Traces as rows: nested spans written by hand."""

from typing import Any

from tunefront.evaluators.profiling.profile import BETWEEN
from tunefront.evaluators.profiling.trace import (
    MARK,
    CallSite,
    places_in,
    requests_of,
    rows_on_cpu,
    rows_on_gpu,
)


def event(name: str, ts: float, dur: float, number: int = 0, **more: Any) -> dict[str, Any]:
    told = {"External id": number, "Input Dims": [], "Input type": [], "Concrete Inputs": []}
    shown = {"cat": "cpu_op", "pid": 1, "tid": 1, "ph": "X"}
    told.update(more.pop("told", {}))
    return {**shown, "name": name, "ts": ts, "dur": dur, "args": told, **more}


PRODUCT = {"Input Dims": [[5], [3, 4], [4, 5]], "Input type": ["float"] * 3}
EVENTS = [
    event("before", 0, 5),
    event(MARK, 10, 100, cat="user_annotation"),
    event("aten::linear", 20, 50, 1, told={"Input Dims": [[3, 4], [5, 4], [5]]}),
    event("aten::addmm", 25, 40, 2, told=PRODUCT),
    event("aten::copy_", 30, 10, 3, told={"Input Dims": [[3, 5]] * 2, "Input type": ["float"] * 2}),
    event("aten::relu", 80, 20, 4, told={"Input Dims": [[3, 5]], "Input type": ["float"]}),
    event("elsewhere", 30, 10, tid=2),
    event("after", 120, 5),
]
GRAPH = [
    CallSite(operator="aten::linear", module="body.0", module_class="Linear"),
    CallSite(operator="aten::relu", module="body.1", module_class="ReLU"),
]


def test_every_span_is_a_row_with_the_time_of_its_own() -> None:
    (request,) = requests_of(EVENTS)
    rows = {row.operator: row for row in rows_on_cpu(request, places_in(request, GRAPH))}
    times = {name: round(row.self_ms * 1e3) for name, row in rows.items()}
    assert times == {
        BETWEEN: 30,
        "aten::linear": 10,
        "aten::addmm": 30,
        "aten::copy_": 10,
        "aten::relu": 20,
    }
    assert sum(times.values()) == 100
    assert {row.module for row in rows.values()} == {None, "body.0", "body.1"}
    assert rows["aten::copy_"].module == "body.0"


def test_work_is_counted_once_where_it_is_done() -> None:
    (request,) = requests_of(EVENTS)
    rows = {row.operator: row for row in rows_on_cpu(request, {})}
    assert (rows["aten::addmm"].flops, rows["aten::linear"].flops) == (120, 0)
    assert rows["aten::linear"].moved_bytes == 0
    assert rows["aten::copy_"].moved_bytes == 2 * 15 * 4
    assert {row.module for row in rows.values()} == {None}


def test_what_attention_calls_is_attention() -> None:
    inside = [
        event(MARK, 0, 100, cat="user_annotation"),
        event("aten::scaled_dot_product_attention", 10, 60),
        event("aten::bmm", 20, 30),
        event("aten::bmm", 80, 10),
    ]
    (request,) = requests_of(inside)
    kinds = [row.kind for row in rows_on_cpu(request, {})]
    assert kinds == ["overhead", "attention", "attention", "matmul"]


def test_conversions_around_the_graph_do_not_shift_its_places() -> None:
    events = [
        event(MARK, 0, 100, cat="user_annotation"),
        event("aten::to", 1, 2),
        event("aten::linear", 10, 10),
        event("aten::relu", 30, 10),
        event("aten::linear", 50, 10),
        event("aten::to", 70, 2),
    ]
    graph = [*GRAPH, CallSite(operator="aten::linear", module="head", module_class="Linear")]
    (request,) = requests_of(events)
    found = {number: place.module for number, place in places_in(request, graph).items()}
    assert found == {1: "body.0", 2: "body.1", 3: "head"}


def test_kernels_of_a_gpu_stand_under_what_launched_them() -> None:
    events = [
        *EVENTS,
        event("sm90_gemm", 60, 40, 2, cat="kernel", tid=7),
        event("splitk_reduce", 100, 5, 2, cat="kernel", tid=7),
        event("triton_poi_fused_add_0", 106, 4, 99, cat="kernel", tid=7),
        event("of the next request", 300, 50, 2, cat="kernel", tid=7),
    ]
    (request,) = requests_of(events)
    rows = rows_on_gpu(request, places_in(request, GRAPH), events, 200)
    told = [(row.operator, row.kind, row.module, row.flops) for row in rows]
    assert told == [
        (BETWEEN, "overhead", None, 0.0),
        ("aten::addmm", "matmul", "body.0", 120.0),
        ("aten::addmm", "matmul", "body.0", 0.0),
        ("triton_poi_fused_add_0", "elementwise", None, None),
    ]
    assert round(rows[0].self_ms * 1e3) == 100 - 49
