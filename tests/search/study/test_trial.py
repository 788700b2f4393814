"""Trials: what they are called, what they cost, why they failed."""

from collections.abc import Callable

import pytest

from tunefront.evaluators import Evaluation
from tunefront.search import Limit, Objective, Trial
from tunefront.search.study.trial import TrialStatus, label
from tunefront.spaces import Configuration, Value

TrialOf = Callable[..., Trial]
LIMITS = (
    Limit(metric="latency_ms", test="<=", bound=12.0),
    Limit(metric="throughput", test=">=", bound=0.5),
)


@pytest.mark.parametrize(
    ("status", "measured"),
    [("running", False), ("ok", True), ("infeasible", True), ("failed", False)],
)
def test_only_what_was_measured_has_figures(
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
    ("values", "told"),
    [
        (
            {"runtime": "openvino", "precision": "bf16", "quantization": "int8-static"},
            "openvino bf16 int8-static",
        ),
        ({"runtime": "torch", "precision": "fp32", "quantization": "none"}, "torch"),
        ({"runtime": "torch", "device": "cpu"}, "torch"),
        ({"runtime": "torch", "device": "cuda"}, "torch cuda"),
        ({"threads": 2, "batch_size": 8}, "b8 t2"),
        ({"replicas": 1, "tensor_parallel": 1}, ""),
        ({"replicas": 2, "tensor_parallel": 4}, "r2 tp4"),
        ({"pruning_ratio": 0.0, "runtime": "torch"}, "torch"),
        (
            {"pruning_ratio": 0.25, "pruning_method": "layers", "runtime": "torch"},
            "torch layers p0.25",
        ),
    ],
)
def test_a_label_tells_what_differs_from_the_plain_model(
    values: dict[str, Value], told: str
) -> None:
    assert label(Configuration(values)) == told


def test_a_name_starts_with_the_number(trial: TrialOf) -> None:
    named = trial(38, {"runtime": "openvino", "quantization": "int8-static", "threads": 2})
    assert named.name() == "038 openvino int8-static t2"
    assert trial(1234, {"threads": 2}).name() == "1234 t2"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"runtime": "openvino", "quantization": "int8-static"}, "007 ov int8s"),
        ({"runtime": "onnxruntime", "quantization": "int4-weight-only"}, "007 ort int4w"),
        ({"runtime": "inductor", "quantization": "int8-dynamic"}, "007 inductor int8d"),
        ({"quantization": "int8-weight-only", "batch_size": 8}, "007 int8w b8"),
    ],
)
def test_a_short_name_fits_narrow_columns(
    trial: TrialOf, values: dict[str, Value], told: str
) -> None:
    assert trial(7, values).short_name() == told
