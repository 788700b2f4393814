"""Objectives, limits, and the loss of quality: item by item where items can be paired."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunefront.evaluators import (
    Evaluation,
    Measurement,
    Metric,
    measured_metrics,
    paired_change,
)
from tunefront.search import Limit, Objective
from tunefront.search.experiment.metrics import QUALITY_DROP
from tunefront.search.experiment.objective import Bound, check_direction, quality_drop
from tunefront.spaces import ExperimentError
from tunefront.spaces.metric import at_level

LATENCY = measured_metrics()["latency_ms"]
ACCURACY = Metric(name="accuracy", unit="", direction="maximize", summary="")
SHARE = Metric(name="share", unit="", direction="maximize", summary="", lowest=0.0, highest=1.0)
ERROR = Metric(name="error", unit="", direction="minimize", summary="")
PERPLEXITY = Metric(name="perplexity", unit="", direction="minimize", summary="", scale="log")
LEVELS = [at_level(measured_metrics()["ttft_ms"], level) for level in ("4", "2.5")]
METRICS = {
    **measured_metrics(),
    "quality_drop": QUALITY_DROP,
    **{metric.name: metric for metric in LEVELS},
}
FINITE = st.floats(-1e9, 1e9)


def limit(test: Bound, bound: float, metric: str = "latency_ms") -> Limit:
    return Limit(metric=metric, test=test, bound=bound)


def refusal(metric: Metric, written: object) -> str:
    with pytest.raises(ExperimentError) as caught:
        Limit.parse(metric, written)
    return str(caught.value)


def test_an_objective_times_its_sign_is_to_be_minimized() -> None:
    assert Objective(metric="latency_ms", direction="minimize").sign == 1
    assert Objective(metric="throughput", direction="maximize").sign == -1


@pytest.mark.parametrize(
    ("written", "test", "bound"),
    [
        ("<= 12", "<=", 12.0),
        ("<=3.5", "<=", 3.5),
        ("  <=  1e-3  ", "<=", 0.001),
        ("<= +.5", "<=", 0.5),
    ],
)
def test_limits_are_read_as_users_write_them(written: str, test: Bound, bound: float) -> None:
    assert Limit.parse(LATENCY, written) == limit(test, bound)


@pytest.mark.parametrize("written", ["<= 5%", "<= 5 %", "<=5"])
def test_a_metric_in_percent_may_say_so(written: str) -> None:
    assert Limit.parse(QUALITY_DROP, written) == limit("<=", 5.0, "quality_drop")


@pytest.mark.parametrize(
    "written", [5, None, ["<= 5"], "5", "< 5", "= 5", "<= five", "<=", "", "%"]
)
def test_what_is_no_limit_is_refused(written: object) -> None:
    text = f"a limit is written '<= NUMBER' or '>= NUMBER', but got {written!r}"
    assert refusal(LATENCY, written) == text


def test_percent_of_another_unit_is_refused() -> None:
    text = "latency_ms is in ms, not in percent; write '<= 5'"
    assert refusal(LATENCY, "<= 5%") == text
    text = "accuracy is in plain numbers, not in percent; write '>= 0.9'"
    assert refusal(ACCURACY, ">= 0.9%") == text


@pytest.mark.parametrize("number", ["1e", "--1", "1.2.3", "+", "e5"])
def test_a_bound_must_be_a_number(number: str) -> None:
    assert refusal(LATENCY, f"<= {number}") == f"{number!r} is not a number"


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_bound_must_be_finite(number: str) -> None:
    assert refusal(LATENCY, f"<= {number}") == f"a finite bound is needed, but got {number}"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("latency_ms<=12", limit("<=", 12.0)),
        (" throughput >= 5 ", limit(">=", 5.0, "throughput")),
        ("quality_drop<=1%", limit("<=", 1.0, "quality_drop")),
        ("ttft_ms@4<=12", limit("<=", 12.0, "ttft_ms@4")),
        ("ttft_ms@2.5 <= 12", limit("<=", 12.0, "ttft_ms@2.5")),
    ],
)
def test_limits_on_the_command_line_name_their_metric(text: str, parsed: Limit) -> None:
    assert Limit.parse_expression(text, METRICS) == parsed


FORM = "limit: 'latency_ms<=NUMBER' or 'latency_ms>=NUMBER' is needed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency<=12", "limit: unknown metric 'latency'; did you mean 'latency_ms'?"),
        ("<=12", "limit: unknown metric '<=12'; known: e2e_latency_ms, "),
        ("latency_ms", f"{FORM}, but got 'latency_ms'"),
        ("latency_ms<12", f"{FORM}, but got 'latency_ms<12'"),
    ],
)
def test_what_is_no_limit_on_the_command_line_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        Limit.parse_expression(text, METRICS)
    assert str(caught.value).startswith(expected)


def test_a_limit_is_shown_as_it_is_written() -> None:
    assert str(limit("<=", 12.0)) == "latency_ms <= 12"
    assert str(limit(">=", 0.5)) == "latency_ms >= 0.5"


@given(st.sampled_from(["<=", ">="]), FINITE, FINITE)
def test_a_limit_is_kept_where_its_violation_is_not_positive(
    test: Bound, bound: float, value: float
) -> None:
    bounded = limit(test, bound)
    assert bounded.kept(value) is (value <= bound if test == "<=" else value >= bound)
    assert bounded.kept(value) is (bounded.violation(value) <= 0)


def test_a_violation_is_in_the_metrics_unit() -> None:
    assert limit("<=", 10.0).violation(12.5) == 2.5
    assert limit(">=", 10.0).violation(7.0) == 3.0


def test_no_number_keeps_no_limit() -> None:
    assert not limit("<=", 10.0).kept(float("nan"))
    assert not limit(">=", 10.0).kept(float("nan"))


@pytest.mark.parametrize(
    ("metric", "written", "message"),
    [
        (LATENCY, ">= 5", ">= 5 refuses the better values: lower latency_ms is better; write '<="),
        (SHARE, "<= 0.5", "<= 0.5 refuses the better values: higher share is better; write '>="),
        (SHARE, ">= 1.5", "no value can keep share >= 1.5: share is between 0 and 1"),
        (SHARE, ">= 0", "every value keeps share >= 0: share is between 0 and 1; remove the limit"),
        (LATENCY, "<= -1e-3", "no value can keep latency_ms <= -0.001: latency_ms is at least 0"),
    ],
)
def test_a_limit_that_decides_nothing_or_the_wrong_thing_is_refused(
    metric: Metric, written: str, message: str
) -> None:
    assert refusal(metric, written).startswith(message)


def test_a_limit_at_the_best_value_can_be_kept() -> None:
    assert Limit.parse(SHARE, ">= 1").bound == 1
    assert Limit.parse(QUALITY_DROP, "<= -5%").bound == -5


def test_an_objective_against_its_metric_is_refused() -> None:
    check_direction(SHARE, "maximize")
    told = "minimize contradicts the metric, of which higher values are better; write maximize"
    with pytest.raises(ExperimentError, match=told):
        check_direction(SHARE, "minimize")


def judged(
    metric: Metric, value: float, half: float = 0.0, items: tuple[float, ...] = ()
) -> Evaluation:
    figure = Measurement(value=value, unit="", low=value - half, high=value + half, samples=9)
    weights = (1.0,) * len(items)
    return Evaluation(status="ok", measurements={metric.name: figure}, items=(items, weights))


@pytest.mark.parametrize(
    ("metric", "own", "drop"),
    [(ACCURACY, 0.4, 50.0), (ACCURACY, 1.2, -50.0), (ERROR, 1.2, 50.0), (ERROR, 0.4, -50.0)],
)
def test_a_loss_is_positive_whatever_the_direction(metric: Metric, own: float, drop: float) -> None:
    found = quality_drop(metric, judged(metric, own), judged(metric, 0.8))
    assert found.value == pytest.approx(drop)
    assert found.unit == "%"


def test_without_items_the_errors_count_as_independent() -> None:
    own, base = judged(ACCURACY, 0.9, half=0.03), judged(ACCURACY, 1.0, half=0.04)
    found = quality_drop(ACCURACY, own, base)
    ends = (found.low, found.value, found.high)
    assert ends == pytest.approx((5.0, 10.0, 15.0))


@pytest.mark.parametrize("items", [(1.0, 0.0), (1.0,), ()])
def test_items_that_can_not_be_paired_are_not(items: tuple[float, ...]) -> None:
    own = judged(ACCURACY, 0.9, half=0.03, items=items)
    base = judged(ACCURACY, 1.0, half=0.04, items=(1.0,))
    assert quality_drop(ACCURACY, own, base).high == pytest.approx(15.0)


def test_with_items_only_their_differences_count() -> None:
    base = judged(ACCURACY, 0.5, half=0.4, items=(0.0, 1.0, 0.0, 1.0))
    own = judged(ACCURACY, 0.45, half=0.4, items=(-0.05, 0.95, -0.05, 0.95))
    found = quality_drop(ACCURACY, own, base)
    assert (found.low, found.value, found.high) == pytest.approx((10.0, 10.0, 10.0))
    assert found.samples == 4


def test_nothing_is_lost_against_itself() -> None:
    base = judged(ACCURACY, 0.5, items=(0.0, 1.0, 0.0, 1.0))
    found = quality_drop(ACCURACY, base, base)
    assert found.value == 0.0
    # Four equal hits may be luck (Agresti and Min); equal losses are equal.
    assert found.low < 0.0 < found.high
    base = judged(ACCURACY, 0.5, items=(0.1, 0.9, 0.2, 0.8))
    found = quality_drop(ACCURACY, base, base)
    assert (found.low, found.value, found.high) == (0.0, 0.0, 0.0)
    assert str(found.value) == "0.0"


def test_perplexity_is_compared_on_the_scale_of_its_items() -> None:
    base = judged(PERPLEXITY, 10.0, items=(2.0, 2.4, 2.8))
    own = judged(PERPLEXITY, 11.0, items=(2.1, 2.5, 2.9))
    found = quality_drop(PERPLEXITY, own, base)
    assert found.value == pytest.approx(100 * (np.exp(0.1) - 1))


def test_items_count_by_the_baselines_weights() -> None:
    base = np.array([[0.0, 0.0], [1.0, 3.0]])
    own = np.array([[4.0, 8.0], [1.0, 1.0]])
    change, _, _ = paired_change(own, base, "log")
    assert change == pytest.approx(np.exp((4 * 1 + 8 * 3) / 4) - 1)


Items = npt.NDArray[np.float64]
RUNS = 4000
TOLERANCE = 0.02
"""Of the coverage: 5.8 standard errors of 4000 runs, so a false alarm in 100 million seeds."""


def correct_answers(rng: np.random.Generator) -> tuple[Items, Items]:
    """200 answers, 80 % right; a tenth of the right turn wrong, a tenth of the wrong right."""
    base = rng.random(200) < 0.8
    flipped = rng.random(200) < 0.1
    own, weights = (base ^ flipped).astype(np.float64), np.ones(200)
    return np.array([own, weights]), np.array([base.astype(np.float64), weights])


def losses(rng: np.random.Generator) -> tuple[Items, Items]:
    """100 texts of different lengths; each loses 0.05 nats a token, more where it was hard."""
    weights = rng.integers(20, 256, 100).astype(np.float64)
    base = rng.gamma(4.0, 0.8, 100)
    noise = 0.1 * rng.standard_normal(100) * np.sqrt(256 / weights)
    own = base + 0.05 + 0.02 * (base - 4.0 * 0.8) + noise
    return np.array([own, weights]), np.array([base, weights])


@pytest.mark.parametrize(
    ("draw", "scale", "truth"),
    [
        (correct_answers, "linear", (0.2 * 0.1 - 0.8 * 0.1) / 0.8),
        (losses, "log", float(np.expm1(0.05))),
    ],
)
def test_the_interval_of_a_change_covers_the_truth_in_95_of_100_cases(
    draw: Callable[[np.random.Generator], tuple[Items, Items]],
    scale: str,
    truth: float,
) -> None:
    rng = np.random.default_rng(20_240_501)
    covered = 0
    for _ in range(RUNS):
        own, base = draw(rng)
        _, low, high = paired_change(own, base, "log" if scale == "log" else "linear")
        covered += low <= truth <= high
    assert covered / RUNS == pytest.approx(0.95, abs=TOLERANCE)


def test_the_text_of_a_limit_has_no_exponent_and_its_record_is_exact() -> None:
    limit = Limit(metric="throughput", test=">=", bound=1e6)
    assert limit.text == "throughput >= 1,000,000"
    assert str(limit) == "throughput >= 1e+06"
    assert Limit(metric="quality_drop", test="<=", bound=0.05).text == "quality_drop <= 0.05"
