"""Intervals in comparisons between trials and of absolute values; unconfirmed trials."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tunefront.evaluators import Evaluation, Measurement
from tunefront.search import Experiment, Limit, Trial
from tunefront.search.front.intervals import (
    Intervals,
    absolute,
    is_unconfirmed,
    seen,
    uncertain_text,
    unconfirmed_trials,
)
from tunefront.search.study.confirmation import Confirmation, Round

TrialOf = Callable[..., Trial]
EvaluationOf = Callable[..., Evaluation]
LATENCY = Limit(metric="latency_ms", test="<=", bound=6.8)


@pytest.fixture(scope="session")
def experiment(load: Callable[..., Experiment]) -> Experiment:
    """Throughput, latency and peak memory."""
    return load("objectives={throughput: maximize, latency_ms: minimize, peak_memory_mb: minimize}")


def around(value: float, half: float, samples: int = 5) -> Measurement:
    return Measurement(value=value, unit="x", low=value - half, high=value + half, samples=samples)


@pytest.fixture(scope="session")
def beside(trial: TrialOf, evaluation: EvaluationOf) -> TrialOf:
    """A trial that was measured in turns with the baseline: its speed-up with its interval."""

    def make(number: int, speedup: float, half: float, **more: float) -> Trial:
        measured = replace(evaluation(), relative=around(speedup, half))
        figures = {"throughput": 100 * speedup, "latency_ms": 10 / speedup, **more}
        return trial(number, spread=half / speedup, evaluation=measured, **figures)

    return make


@pytest.fixture(scope="session")
def base(trial: TrialOf) -> Trial:
    """Trial 0, whose speed is known to 12 %."""
    return trial(0, spread=0.12, throughput=100.0, latency_ms=10.0, latency_p99_ms=30.0)


def ends(found: Measurement) -> tuple[float, float]:
    return found.low, found.high


def test_a_single_reading_of_memory_has_the_spread_of_processes(
    experiment: Experiment, trial: TrialOf
) -> None:
    memory = experiment.metrics["peak_memory_mb"]
    row = trial(1, peak_memory_mb=200.0, throughput=5.0)
    once = replace(
        row, measurements={**row.measurements, "peak_memory_mb": Measurement.exact(200.0, "MB")}
    )
    assert ends(seen(once, memory)) == pytest.approx((198.0, 202.0))
    assert seen(row, memory) == row.measurements["peak_memory_mb"]
    assert seen(once, experiment.metrics["throughput"]).low == 5.0
    intervals = Intervals(experiment, [once])
    assert ends(intervals.between(once, "peak_memory_mb")) == pytest.approx((198.0, 202.0))


def test_the_error_of_the_baselines_speed_counts_for_absolute_values_only(
    experiment: Experiment, trial: TrialOf, beside: TrialOf, base: Trial
) -> None:
    """Baseline 100 +- 12 %, ratio 1.5 +- 0.7 %: a latency of 6.7 ms is not known to 0.7 %."""
    own = beside(1, 1.5, 0.0105)
    intervals = Intervals(experiment, [base, own])
    between, full = (f(own, "latency_ms") for f in (intervals.between, intervals.absolute))
    assert ends(between) == pytest.approx((6.62, 6.713), abs=1e-3)
    # Quadrature on the log scale; a baseline that was slower makes the latency longer.
    down = math.hypot(math.log(6.6667 / 6.62), math.log(112 / 100))
    up = math.hypot(math.log(6.7133 / 6.6667), math.log(100 / 88))
    expected = 6.6667 * math.exp(-down), 6.6667 * math.exp(up)
    assert ends(full) == pytest.approx(expected, abs=1e-3)
    assert LATENCY.certain(between)
    assert intervals.uncertain(own, [LATENCY]) == (LATENCY,)
    assert uncertain_text([LATENCY]) == (
        "meets latency_ms <= 6.8 on the estimate; the 95 % interval crosses the limit"
    )
    assert uncertain_text([]) == ""
    assert (
        intervals.uncertain(own, [replace(LATENCY, bound=9.0), replace(LATENCY, bound=6.0)]) == ()
    )
    assert ends(absolute(own, None, experiment.metrics["latency_ms"])) == ends(between)


def test_percentiles_that_are_converted_to_the_baselines_speed_have_its_error_as_well(
    experiment: Experiment, beside: TrialOf, base: Trial
) -> None:
    own = beside(1, 1.5, 0.0105, latency_p99_ms=20.0)
    intervals = Intervals(experiment, [base, own])
    low, high = ends(intervals.absolute(own, "latency_p99_ms"))
    assert low < 20 * 0.9 and high > 20 * 1.1
    assert intervals.between(own, "latency_p99_ms") == own.measurements["latency_p99_ms"]
    # Its own errors remain where the common factor is taken out.
    assert intervals.between(base, "latency_p99_ms") == base.measurements["latency_p99_ms"]


def test_beside_ratios_to_it_the_baseline_is_exact(
    experiment: Experiment, trial: TrialOf, beside: TrialOf, base: Trial
) -> None:
    alone = trial(2, spread=0.05, throughput=150.0, latency_ms=6.7)
    known = Intervals(experiment, [base, beside(1, 1.5, 0.01), alone])
    assert ends(known.between(base, "throughput")) == (100.0, 100.0)
    assert known.absolute(base, "throughput") == base.measurements["throughput"]
    # A trial without such a ratio is compared by two absolute values.
    assert known.between(alone, "throughput").low < 150 * 0.88
    assert known.absolute(alone, "throughput") == alone.measurements["throughput"]
    # Where nothing was interleaved, every interval is a trial's own.
    none = Intervals(experiment, [base, alone])
    assert none.between(base, "throughput") == base.measurements["throughput"]
    assert none.between(alone, "throughput") == alone.measurements["throughput"]
    missing = Intervals(experiment, [trial(0, status="failed"), beside(1, 1.5, 0.01)])
    assert ends(missing.between(alone, "throughput")) == pytest.approx((142.5, 157.5))


def test_a_limit_that_is_surely_kept_is_kept(
    experiment: Experiment, trial: TrialOf, beside: TrialOf
) -> None:
    """A true latency just beyond the limit is called surely within in at most 2.5 % of searches.

    1,000 searches with a baseline known to 6 % and ratios to 0.35 %: the standard error is 0.5 %.
    With the interval of the ratio alone about 45 % would be. It is no vain caution: a latency four
    standard deviations below the limit is called so in nearly all of them.
    """
    random = np.random.default_rng(0)
    levels = 100 * np.exp(0.06 * random.standard_normal(1000))
    ratios = 1.5 * np.exp(0.0035 * random.standard_normal(1000))

    def called(limit: Limit) -> float:
        return float(
            np.mean([not _unsure(limit, *pair) for pair in zip(levels, ratios, strict=True)])
        )

    def _unsure(limit: Limit, level: float, ratio: float) -> bool:
        base = trial(0, spread=0.1176, throughput=level, latency_ms=1000 / level)
        own = beside(1, ratio, 0.00686 * ratio)
        figures = {
            "throughput": around(level * ratio, 0.00686 * level * ratio),
            "latency_ms": around(1000 / (level * ratio), 6.86 / (level * ratio)),
        }
        own = replace(own, measurements={**own.measurements, **figures})
        kept = limit.kept(own.value("latency_ms"))
        return not kept or bool(Intervals(experiment, [base, own]).uncertain(own, [limit]))

    truth = 1000 / 150
    assert called(replace(LATENCY, bound=0.999 * truth)) <= 0.04
    assert called(replace(LATENCY, bound=truth * math.exp(4 * 0.06))) >= 0.95


@pytest.mark.parametrize(
    ("warnings", "disturbed", "expected"),
    [
        ((), (), False),
        (("interval +-9 %, wanted +-3 %",), (), True),
        (("interval +-9 %, wanted +-3 %",), (False, False, True), False),
        ((), (True, True, False), True),
    ],
)
def test_warnings_count_unless_an_undisturbed_confirmation_follows(
    trial: TrialOf,
    evaluation: EvaluationOf,
    warnings: tuple[str, ...],
    disturbed: Sequence[bool],
    expected: bool,
) -> None:
    row = trial(1, throughput=1.0, evaluation=replace(evaluation(), warnings=warnings))
    rounds = [Round(ratios=[1.0], undisturbed=not noisy) for noisy in disturbed]
    confirmation = Confirmation(rounds={1: rounds} if rounds else {})
    assert is_unconfirmed(row, confirmation) == expected
    known = [trial(0, throughput=1.0), row, replace(row, number=2, status="failed")]
    assert unconfirmed_trials(known, confirmation) == ({1} if expected else set())
