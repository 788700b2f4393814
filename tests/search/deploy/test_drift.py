"""What counts as drift of an export: intervals, the machine's own speed, others on it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import Direction, Measurement
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.measures.machine import QUIET
from tunefront.search.deploy.drift import BUSY, Finding, measurement_findings, quality_finding
from tunefront.search.deploy.rounds import Rounds, of_rounds

HERE = {"fingerprint": "here", "summary": "Made-up CPU"}


def figure(value: float, share: float = 0.02) -> Measurement:
    return Measurement(
        value=value, unit="", low=(1 - share) * value, high=(1 + share) * value, samples=3
    )


def manifest(latency: float = 10.0, memory: float = 500.0, **more: Any) -> dict[str, Any]:
    figures = {"latency_ms": latency, "peak_memory_mb": memory}
    return {
        "hardware": HERE,
        "sample_values": figures,
        "sample_measurements": {name: to_plain(figure(value)) for name, value in figures.items()},
        "sample_probe": {"compute_ms": 4.0, "memory_ms": 8.0},
        **more,
    }


def rounds(
    latency: float = 10.0,
    memory: float = 500.0,
    probe: Mapping[str, float] | None = None,
    foreign: float = 0.0,
) -> Rounds:
    return Rounds(
        facts={},
        measurements={"latency_ms": figure(latency), "peak_memory_mb": figure(memory)},
        probe=probe or {"compute_ms": 4.0, "memory_ms": 8.0},
        machine={"foreign": foreign, "steal": 0.0, "load": 1.0},
    )


def judged(written: Mapping[str, Any], now: Rounds) -> dict[str, Finding]:
    return {f.metric: f for f in measurement_findings(written, now, "here")}


def test_what_is_as_it_was_holds_and_what_is_better_too() -> None:
    for now in (rounds(), rounds(10.3, 505.0), rounds(2.0, 100.0)):
        found = judged(manifest(), now)
        assert [f.verdict for f in found.values()] == ["holds", "holds"]
    assert found["latency_ms"].drift == pytest.approx(-0.8)


def test_what_is_worse_beyond_the_intervals_has_drifted() -> None:
    found = judged(manifest(), rounds(11.0, 560.0))
    assert [f.verdict for f in found.values()] == ["drifted", "drifted"]
    assert found["latency_ms"].detail == ""


def test_what_processes_differ_by_for_no_reason_is_no_drift() -> None:
    """4.5 % is beyond both intervals, but not beyond what days differ by."""
    assert judged(manifest(), rounds(10.45, 522.5))["peak_memory_mb"].verdict == "holds"


def test_a_slower_machine_is_no_drift_and_is_reported() -> None:
    slower = {"compute_ms": 4.0, "memory_ms": 12.0}
    found = judged(manifest(), rounds(14.0, probe=slower))["latency_ms"]
    assert found.verdict == "not compared"
    assert found.detail == "the machine itself is 1.50 times slower than when it was recorded"
    beyond = judged(manifest(), rounds(20.0, probe=slower))["latency_ms"]
    assert beyond.verdict == "drifted"
    assert beyond.detail == "more than the machine explains (x1.50)"
    # Memory does not depend on how fast the machine is.
    assert judged(manifest(), rounds(14.0, 600.0, slower))["peak_memory_mb"].verdict == "drifted"


def test_a_busy_machine_is_no_drift_and_is_reported() -> None:
    found = judged(manifest(), rounds(25.0, foreign=0.5))["latency_ms"]
    assert found.verdict == "not compared"
    assert found.detail == "other processes used 50% of the cores' time during the rounds"
    assert judged(manifest(), rounds(10.0, foreign=0.5))["latency_ms"].verdict == "holds"
    assert judged(manifest(), rounds(1000.0, foreign=0.5))["latency_ms"].verdict == "drifted"
    assert BUSY == QUIET


def test_another_machine_s_values_are_not_compared() -> None:
    for finding in measurement_findings(manifest(), rounds(100.0, 5000.0), "elsewhere"):
        assert finding.verdict == "not compared"
        assert finding.detail == "recorded on another machine: Made-up CPU"


def test_a_value_that_was_not_recorded_is_no_finding() -> None:
    written = manifest()
    del written["sample_measurements"]["latency_ms"]
    assert list(judged(written, rounds())) == ["peak_memory_mb"]


@pytest.mark.parametrize(
    ("value", "direction", "verdict"),
    [
        (0.90, "maximize", "holds"),
        (0.885, "maximize", "holds"),
        (0.85, "maximize", "drifted"),
        (0.99, "maximize", "holds"),
        (0.93, "minimize", "drifted"),
        (0.80, "minimize", "holds"),
    ],
)
def test_quality_drifts_where_it_is_worse_than_its_interval(
    value: float, direction: Direction, verdict: str
) -> None:
    assert quality_finding("accuracy", figure(0.9), figure(value), direction).verdict == verdict


def test_a_rounding_of_an_exact_quality_is_no_drift() -> None:
    exact = Measurement.exact(0.9, "")
    now = Measurement.exact(0.8999, "")
    assert quality_finding("score", exact, now, "maximize").verdict == "holds"
    now = Measurement.exact(0.8990, "")
    assert quality_finding("score", exact, now, "maximize").verdict == "drifted"


def test_rounds_keep_every_round_in_their_interval() -> None:
    found = of_rounds([10.0, 10.2, 14.0], "latency_ms")
    assert (found.value, found.unit, found.samples) == (10.2, "ms", 3)
    assert found.low <= 10.0
    assert found.high >= 14.0
    alone = of_rounds([5.0], "peak_memory_mb")
    assert (alone.low, alone.value, alone.high, alone.unit) == (5.0, 5.0, 5.0, "MB")


def test_an_interval_of_rounds_holds_the_true_value_as_often_as_it_says() -> None:
    """At least 95 % of 1,000; it holds all rounds, too, and so more."""
    drawn = np.exp(np.random.default_rng(0).normal(0.0, 0.03, (1000, 3)))
    intervals = [of_rounds(values.tolist(), "latency_ms") for values in drawn]
    assert sum(m.low <= 1.0 <= m.high for m in intervals) >= 935
