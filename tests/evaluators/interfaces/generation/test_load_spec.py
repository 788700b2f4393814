"""The keys `workload.load` and `workload.slo`: what they mean and what is refused."""

import re

import pytest

from tunefront.evaluators.interfaces.generation import LoadSpec, check_slo
from tunefront.evaluators.interfaces.load import Load, level_names
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import WorkloadError


def test_a_load_is_one_at_a_time_unless_it_is_given() -> None:
    assert LoadSpec().loads() == (Load(concurrency=1),)
    assert LoadSpec(concurrency=(4,)).loads() == (Load(concurrency=4),)
    assert LoadSpec(rate=(2.5,)).loads() == (Load(rate_per_s=2.5),)


def test_several_levels_are_named_and_ascend() -> None:
    assert level_names(LoadSpec(concurrency=(16, 1, 4)).loads()) == ("1", "4", "16")
    assert level_names(LoadSpec(rate=(2.5, 0.5)).loads()) == ("0.5", "2.5")
    assert level_names(LoadSpec(concurrency=(4,)).loads()) == ("",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"concurrency": (4,), "rate": (2.0, 5.0)},
            "load: concurrency (requests in progress), rate (requests a second) and trace (times "
            "in a file) are kinds of load, but got concurrency 4 and rate 2, 5; keep one",
        ),
        ({"rate": (0.0,)}, "load.rate: must be above 0 requests a second, but got 0; write how"),
        ({"rate": (2.0, -1.5)}, "load.rate: must be above 0 requests a second, but got -1.5"),
        ({"concurrency": (4, 0)}, "load.concurrency: must be at least 1, but got 0; 1 sends one"),
        (
            {"concurrency": (4, 1, 4)},
            "load.concurrency: every level can be listed once, but got 4, 1, 4; remove the second",
        ),
        (
            {"output_tokens": 0},
            "load.output_tokens: must be at least 1, but got 0; remove the key for the length in "
            "the data, or 64",
        ),
        ({"rate": (2.0,), "trace": "a.jsonl"}, "but got rate 2 and trace a.jsonl; keep one"),
        ({"shared_prefix": 0}, "load.shared_prefix: must be at least 1, but got 0; remove the key"),
        (
            {"shared_prefix": 8, "input_tokens": 8},
            "load.shared_prefix: must be below input_tokens, 8, but got 8; prompts need tokens",
        ),
        ({"input_tokens": -3}, "load.input_tokens: must be at least 1, but got -3; remove the key"),
    ],
)
def test_a_load_that_means_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(WorkloadError, match=re.escape(message)):
        LoadSpec(**fields)  # type: ignore[arg-type]


def test_a_trace_is_replayed_by_tasks_that_read_it() -> None:
    spec = LoadSpec(trace="arrivals.jsonl")
    assert spec.loads([0.0, 0.5]) == (Load(times_s=(0.0, 0.5)),)
    with pytest.raises(
        WorkloadError, match=r"load\.trace: this task does not replay traces; write"
    ):
        spec.loads()


@pytest.mark.parametrize(
    ("slo", "message"),
    [
        (
            {"ttf_ms": 500.0},
            "slo: a request has no 'ttf_ms'; did you mean 'ttft_ms'?; limits can be set for "
            "ttft_ms, tpot_ms, itl_ms, e2e_latency_ms",
        ),
        ({"ttft_p90_ms": 500.0}, "slo: a request has no 'ttft_p90_ms'; did you mean"),
        ({"tpot_ms": 0.0}, "slo.tpot_ms: must be above 0 ms, but got 0; write the longest time"),
    ],
)
def test_an_slo_that_no_request_can_keep_is_refused(slo: dict[str, float], message: str) -> None:
    with pytest.raises(WorkloadError, match=re.escape(message)):
        check_slo(slo)
    with pytest.raises(WorkloadError, match=re.escape(message)):
        WorkloadSpec(task="counting", model="m", folder=".", slo=slo)


def test_load_and_slo_cross_processes_with_the_workload() -> None:
    spec = WorkloadSpec(
        task="counting",
        model="m",
        folder=".",
        load=LoadSpec(rate=(2.0, 5.0), output_tokens=8),
        slo={"ttft_ms": 500.0},
    )
    assert from_plain(WorkloadSpec, to_plain(spec)) == spec
