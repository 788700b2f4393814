"""What counts as drift of an export: intervals, the machine's own speed, others on it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import Direction, Evaluation, Measurement, Metric
from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.measures.machine import QUIET
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.statistics.estimates import perplexity_of
from tunefront.search import Experiment, Trial
from tunefront.search.deploy.drift import (
    BUSY,
    Finding,
    measurement_findings,
    paired_finding,
    quality_finding,
)
from tunefront.search.deploy.quality_recheck import (
    RECORDED_ITEMS,
    quality_findings,
    record_items,
    recorded_items,
)
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
    assert found.detail == "the machine itself is 1.5x slower than when it was recorded"
    beyond = judged(manifest(), rounds(20.0, probe=slower))["latency_ms"]
    assert beyond.verdict == "drifted"
    assert beyond.detail == "more than the machine explains (1.5x slower)"
    # Memory does not depend on how fast the machine is.
    assert judged(manifest(), rounds(14.0, 600.0, slower))["peak_memory_mb"].verdict == "drifted"


def test_a_busy_machine_is_no_drift_and_is_reported() -> None:
    found = judged(manifest(), rounds(25.0, foreign=0.5))["latency_ms"]
    assert found.verdict == "not compared"
    assert found.detail == "other processes used 50 % of the cores' time during the rounds"
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


PERPLEXITY = Metric(
    name="perplexity", unit="", direction="minimize", summary="", scale="log", lowest=1.0
)
SCORE = Metric(name="score", unit="", direction="maximize", summary="")
PASSAGES = 64


def passages(random: np.random.Generator, growth: float) -> tuple[Array, Array]:
    """Losses of 64 passages, recorded and now; their perplexity is about 30 +- 19 %, then grows.

    Another version of a library changes the loss of each passage by about 1 %.
    """
    losses = random.normal(np.log(30.0), 0.78, PASSAGES)
    now = losses + np.log1p(growth) + random.normal(0.0, 0.01, PASSAGES)
    return np.stack([losses, np.ones(PASSAGES)]), np.stack([now, np.ones(PASSAGES)])


def perplexity(items: Array) -> Measurement:
    seen = items[:, items[1] > 0]
    return perplexity_of(seen[0] * seen[1], seen[1])


def test_a_perplexity_of_31_instead_of_30_is_found_on_64_passages() -> None:
    """The recorded interval of +- 19 % finds none of them."""
    random = np.random.default_rng(0)
    for _ in range(50):
        before, after = passages(random, 31 / 30 - 1)
        recorded, now = perplexity(before), perplexity(after)
        assert quality_finding("perplexity", recorded, now, "minimize").verdict == "holds"
        found = paired_finding(PERPLEXITY, recorded, now, before, after)
        assert found.verdict == "drifted"
        assert found.drift == pytest.approx(31 / 30 - 1, abs=0.006)
        assert found.detail.endswith(" % on the same 64 items")
        better = paired_finding(PERPLEXITY, now, recorded, after, before)
        assert better.verdict == "holds"


def test_changes_that_cancel_out_are_no_drift() -> None:
    """2.5 % are intended; of 1,000, more than 4.5 % has a probability below 0.1 %."""
    random = np.random.default_rng(1)
    found = 0
    for _ in range(1000):
        before, after = passages(random, 0.0)
        pair = perplexity(before), perplexity(after)
        found += paired_finding(PERPLEXITY, *pair, before, after).verdict == "drifted"
    assert found <= 45


def test_a_trial_of_a_part_of_the_items_is_compared_on_that_part() -> None:
    before, after = passages(np.random.default_rng(2), 0.05)
    after[0, 32:] = 99.0
    before[:, 32:] = 0.0
    found = paired_finding(PERPLEXITY, figure(30.0), figure(1e9), before, after)
    assert found.drift == pytest.approx(0.05, abs=0.01)
    assert found.detail.endswith("on the same 32 items")


def test_a_score_near_0_is_compared_in_its_own_unit() -> None:
    random = np.random.default_rng(3)
    score = random.normal(0.0, 1.0, PASSAGES)
    before, after = (np.stack([values, np.ones(PASSAGES)]) for values in (score, score - 0.1))
    found = paired_finding(SCORE, figure(0.01), figure(-0.09), before, after)
    assert (found.verdict, found.change) == ("drifted", None)
    assert found.detail == "-0.1 to -0.1 on the same 64 items"
    assert paired_finding(SCORE, figure(0.0), figure(0.1), after, before).verdict == "holds"


def test_the_primary_metric_is_paired_and_others_are_not(
    load: Callable[..., Experiment], trial: Callable[..., Trial], tmp_path: Path
) -> None:
    before, after = passages(np.random.default_rng(4), 0.05)
    recorded = {"perplexity": figure(30.0), "agreement": figure(0.9)}
    now = {"perplexity": figure(31.5), "agreement": figure(0.8)}
    workload = load().workload
    found = quality_findings(workload, recorded, before, (now, after))
    assert [one.verdict for one in found] == ["drifted", "drifted"]
    assert [one.change is None for one in found] == [False, True]
    for other in (None, before[:, 1:]):  # not recorded, and of other data
        first, _ = quality_findings(workload, recorded, other, (now, after))
        assert first.change is None
    assert quality_findings(workload, recorded, before, ({}, after)) == []

    items = tuple(before[0].tolist()), tuple(before[1].tolist())
    kept = Evaluation(status="ok", items=items)
    record_items(trial(1, evaluation=kept), tmp_path)
    assert recorded_items(tmp_path) == pytest.approx(before)
    (tmp_path / RECORDED_ITEMS).unlink()
    record_items(trial(1, evaluation=Evaluation(status="ok", items=((1.0,), (1.0,)))), tmp_path)
    assert recorded_items(tmp_path) is None


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
