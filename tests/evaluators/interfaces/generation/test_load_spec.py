"""The keys `workload.load` and `workload.slo`: what they mean and what is refused."""

import re

import pytest

from tunefront.evaluators.interfaces.generation import LoadSpec, check_slo
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import WorkloadError


def test_a_load_is_one_at_a_time_unless_it_is_given() -> None:
    assert LoadSpec().arrivals() == Load(concurrency=1)
    assert LoadSpec(concurrency=4).arrivals() == Load(concurrency=4)
    assert LoadSpec(rate=2.5).arrivals() == Load(rate_per_s=2.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"concurrency": 4, "rate": 2.0},
            "load: concurrency (requests in progress) and rate (requests a second) are two kinds "
            "of load, but got both, 4 and 2; remove one",
        ),
        ({"rate": 0.0}, "load.rate: must be above 0 requests a second, but got 0; write how"),
        ({"rate": -1.5}, "load.rate: must be above 0 requests a second, but got -1.5"),
        ({"concurrency": 0}, "load.concurrency: must be at least 1, but got 0; 1 sends one"),
        (
            {"output_tokens": 0},
            "load.output_tokens: must be at least 1, but got 0; remove the key for the length in "
            "the data, or 64",
        ),
        ({"input_tokens": -3}, "load.input_tokens: must be at least 1, but got -3; remove the key"),
    ],
)
def test_a_load_that_means_nothing_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(WorkloadError, match=re.escape(message)):
        LoadSpec(**fields)  # type: ignore[arg-type]


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
        load=LoadSpec(rate=2.0, output_tokens=8),
        slo={"ttft_ms": 500.0},
    )
    assert from_plain(WorkloadSpec, to_plain(spec)) == spec
