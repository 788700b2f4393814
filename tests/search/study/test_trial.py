"""Trials: what they are called, what they cost, why they failed."""

from collections.abc import Callable, Mapping

import pytest

from tunefront.evaluators import Evaluation, builtin_catalog
from tunefront.search import Limit, Objective, Trial
from tunefront.search.study.trial import TrialStatus
from tunefront.spaces import Configuration, Value

TrialOf = Callable[..., Trial]
STATIC: Mapping[str, Value] = {
    "runtime": "openvino",
    "quantization_bits": 8,
    "quantization_method": "static",
}
LIMITS = (
    Limit(metric="latency_ms", test="<=", bound=12.0),
    Limit(metric="throughput", test=">=", bound=0.5),
)


@pytest.mark.parametrize(
    ("status", "measured"),
    [("running", False), ("ok", True), ("infeasible", True), ("failed", False)],
)
def test_only_what_was_measured_has_values(
    trial: TrialOf, status: TrialStatus, measured: bool
) -> None:
    assert trial(1, status=status).measured is measured


def test_costs_are_signed_so_that_less_is_better(trial: TrialOf) -> None:
    measured = trial(1, throughput=100.0, latency_ms=10.0)
    assert measured.cost(Objective(metric="throughput", direction="maximize")) == -100
    assert measured.cost(Objective(metric="latency_ms", direction="minimize")) == 10


def test_a_failed_trial_says_its_cause(trial: TrialOf, failure: Callable[..., Evaluation]) -> None:
    assert trial(1, status="failed", evaluation=failure("timeout")).cause == "timeout"


def test_an_infeasible_trial_says_which_limits_it_breaks(trial: TrialOf) -> None:
    infeasible = trial(1, status="infeasible", broken=LIMITS)
    assert infeasible.cause == "latency_ms <= 12, throughput >= 0.5"


def test_a_fine_trial_has_no_cause(trial: TrialOf) -> None:
    assert trial(1).cause == ""
    assert trial(1, status="running").cause == ""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {
                "runtime": "openvino",
                "precision": "bf16",
                "quantization_bits": 8,
                "quantization_method": "static",
            },
            "openvino bf16 w8 static",
        ),
        (
            {
                "runtime": "openvino",
                "quantization_bits": 4,
                "quantization_method": "rtn",
                "group_size": 64,
            },
            "openvino w4 rtn g64",
        ),
        ({"runtime": "torch", "precision": "fp32", "quantization_bits": 16}, "torch"),
        ({"runtime": "torch", "device": "cpu"}, "torch"),
        ({"runtime": "torch", "device": "cuda"}, "torch cuda"),
        ({"threads": 2, "batch_size": 8}, "b8 t2"),
        ({"replicas": 1, "tensor_parallel": 1}, "defaults"),
        ({"replicas": 2, "tensor_parallel": 4}, "tp4 r2"),
        ({"pruning_ratio": 0.0, "runtime": "torch"}, "torch"),
        (
            {"pruning_ratio": 0.25, "pruning_method": "layers", "runtime": "torch"},
            "torch p0.25 layers",
        ),
    ],
)
def test_a_label_tells_what_differs_from_the_plain_model(
    values: Mapping[str, Value], expected: str
) -> None:
    assert builtin_catalog().label(Configuration(values)) == expected


def test_a_name_starts_with_the_number(trial: TrialOf) -> None:
    named = trial(38, {**STATIC, "threads": 2})
    assert named.name() == "038 openvino w8 static t2"
    assert trial(1234, {"threads": 2}).name() == "1234 t2"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (STATIC, "007 ov w8 static"),
        (
            {"runtime": "onnxruntime", "quantization_bits": 4, "quantization_method": "rtn"},
            "007 ort w4 rtn",
        ),
        (
            {"runtime": "inductor", "quantization_bits": 8, "quantization_method": "dynamic"},
            "007 inductor w8 dynamic",
        ),
        (
            {"quantization_bits": 8, "quantization_method": "rtn", "batch_size": 8},
            "007 w8 rtn b8",
        ),
        ({"pruning_ratio": 0.25, "pruning_method": "ffn-channels"}, "007 p0.25 ffn"),
    ],
)
def test_a_short_name_fits_narrow_columns(
    trial: TrialOf, values: Mapping[str, Value], expected: str
) -> None:
    assert trial(7, values).short_name() == expected
