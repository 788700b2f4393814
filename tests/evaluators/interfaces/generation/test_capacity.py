"""Probes of the capacity on a simulated engine, and what is said about the result."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from tunefront.evaluators.interfaces.generation import GenerationRequest
from tunefront.evaluators.interfaces.generation.requests import distinct_requests
from tunefront.evaluators.interfaces.polled.capacity import (
    CapacityKind,
    CapacityResult,
    CapacitySearch,
    ProbeResult,
    capacity_metric,
    lowest_level,
    probe_load,
    whole,
)
from tunefront.evaluators.interfaces.polled.capacity_probe import run_probe as possible_probe
from tunefront.evaluators.statistics.capacity_bisection import CapacityProbe
from tunefront.spaces import EvaluationError

from .simulated_engine import SimulatedEngine, requests_of

SLO = {"ttft_ms": 200.0, "tpot_ms": 40.0}
REQUESTS = requests_of([8] * 4)
Engine = Callable[..., SimulatedEngine]


def run_probe(
    engine: SimulatedEngine,
    requests: Sequence[GenerationRequest],
    slo: Mapping[str, float],
    kind: CapacityKind,
    level: float,
    seconds: float,
    seed: int,
) -> ProbeResult:
    """Return the result of a probe that has one."""
    found = possible_probe(engine, requests, slo, kind, level, seconds, seed, distinct_requests)
    assert found is not None
    return found


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return lambda **options: SimulatedEngine(monkeypatch, **options)


def test_a_rate_is_exact_and_its_times_are_random() -> None:
    found = probe_load("rate", 10.0, 60.0, seed=3)
    assert (found.requests, found.first) == (600, 120)
    gaps = np.diff(found.load.times_s)
    assert found.load.times_s[-1] < 60.0
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.15)  # as of a Poisson process
    assert probe_load("rate", 10.0, 60.0, seed=4).load.times_s != found.load.times_s


def test_a_probe_has_a_least_and_a_largest_number_of_requests() -> None:
    assert probe_load("rate", 0.1, 60.0, seed=0).requests == 25
    assert probe_load("rate", 1e4, 60.0, seed=0).requests == 2500
    assert (lowest_level("rate", 60.0), lowest_level("concurrency", 60.0)) == (1 / 3, 1.0)


@pytest.mark.parametrize(("kind", "level"), [("rate", 5.0), ("concurrency", 3.0)])
def test_a_load_that_the_engine_serves_keeps_the_slo(
    engine: Engine, kind: CapacityKind, level: float
) -> None:
    found = run_probe(engine(), REQUESTS, SLO, kind, level, 20.0, seed=0)
    assert (found.probe.level, found.probe.share) == (level, 1.0)
    assert found.probe.independent >= 79  # the time between tokens is always the same
    assert found.times_ms["tpot_ms"] == pytest.approx(10.0, abs=0.5)
    assert 10.0 <= found.times_ms["ttft_ms"] <= 21.0


def test_more_requests_in_progress_than_the_slo_allows_break_it(engine: Engine) -> None:
    """A step with n requests takes 10 + 5 n ms: a limit of 42 ms is kept up to 6."""
    shares = [
        run_probe(
            engine(each_s=0.005), REQUESTS, {"tpot_ms": 42.0}, "concurrency", level, 10.0, seed=0
        ).probe.share
        for level in (6.0, 8.0)
    ]
    assert shares == [1.0, 0.0]


def test_an_overloaded_probe_ends_early(engine: Engine) -> None:
    """One request at a time takes 80 ms: 12.5 requests a second; 50 arrive."""
    slow = engine(slots=1)
    found = run_probe(slow, REQUESTS, SLO, "rate", 50.0, 60.0, seed=0)
    assert found.probe.share < 0.5
    assert found.times_ms["ttft_ms"] == math.inf
    assert slow.now < 60.0


@pytest.mark.parametrize("slo", [{"tpot_ms": 2000.0}, {"ttft_ms": 6e4, "tpot_ms": 2000.0}])
def test_requests_that_last_longer_than_a_probe_can_keep_the_slo(
    engine: Engine, slo: dict[str, float]
) -> None:
    """Four in progress, one at a time, 8 s each: one that is sent after 8 s ends after 40 s."""
    slow = engine(step_s=1.0, slots=1)
    found = run_probe(slow, REQUESTS, slo, "concurrency", 4.0, 2.0, seed=0)
    assert found.probe.share == 1.0
    assert math.isfinite(found.times_ms["tpot_ms"])
    assert (
        possible_probe(slow, REQUESTS, slo, "concurrency", 4.0, 2.0, 0, distinct_requests, 9.0)
        is None
    )


def test_what_has_not_ended_in_time_has_failed(engine: Engine) -> None:
    """A request takes 8 s; without a limit of the first token a probe waits for its own time."""
    found = run_probe(
        engine(step_s=1.0, slots=1), REQUESTS, {"tpot_ms": 2000.0}, "rate", 12.0, 2.0, seed=0
    )
    assert (found.times_ms["tpot_ms"], found.probe.share) == (math.inf, 0.0)


@pytest.mark.parametrize("name", ["ttft_ms", "tpot_ms", "itl_ms", "e2e_latency_ms"])
def test_each_time_can_be_limited(engine: Engine, name: str) -> None:
    """A token takes 10 ms, a request of 8 tokens 80 ms."""
    limit = 82.0 if name == "e2e_latency_ms" else 12.0
    for slo, share in (({name: limit}, 1.0), ({name: limit / 2}, 0.0)):
        found = run_probe(engine(), REQUESTS, slo, "concurrency", 1.0, 5.0, seed=0)
        assert found.probe.share == share


def test_a_response_of_one_token_keeps_a_limit_of_the_time_between_tokens(engine: Engine) -> None:
    single = requests_of([1] * 4)
    slo = {"tpot_ms": 1.0, "itl_ms": 1.0}
    assert run_probe(engine(), single, slo, "concurrency", 1.0, 2.0, seed=0).probe.share == 1.0


def test_a_short_response_is_not_a_fast_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = engine()
    submit = short.submit

    def shortened(request: object) -> int:
        number = submit(request)  # type: ignore[arg-type]
        short.waiting[-1] = (number, requests_of([4])[0])
        return number

    monkeypatch.setattr(short, "submit", shortened)
    with pytest.raises(EvaluationError, match="a request for 8 tokens returned 4"):
        run_probe(short, REQUESTS, SLO, "concurrency", 1.0, 5.0, seed=0)


def result_of(*shares: tuple[float, float], kind: CapacityKind = "rate") -> CapacityResult:
    return CapacityResult(
        search=CapacitySearch(kind=kind, start=4.0, seconds=60.0, limit_s=960.0),
        slo=SLO,
        probes=tuple(
            ProbeResult(
                probe=CapacityProbe(level=level, share=share, independent=50.0),
                times_ms={"ttft_ms": 812.0, "tpot_ms": 38.0},
            )
            for level, share in shares
        ),
    )


def test_the_capacity_is_a_measurement_in_its_unit() -> None:
    found = result_of((3.0, 1.0), (4.0, 0.96), (5.0, 0.6)).measurement
    assert found is not None
    assert (found.unit, found.samples) == ("requests/s", 3)
    assert 3.0 < found.low < found.value < found.high < 5.0
    assert capacity_metric("concurrency").unit == "requests in progress"


def test_requests_in_progress_are_whole() -> None:
    found = result_of((3.0, 1.0), (4.0, 0.96), (5.0, 0.6), kind="concurrency").measurement
    assert found is not None
    assert found.unit == "requests in progress"
    assert all(end == int(end) for end in (found.value, found.low, found.high))
    assert whole((0.4, 0.2, math.inf)) == (1.0, 1.0, math.inf)


def test_a_slo_that_nothing_keeps_has_the_nearest_load_and_its_distance() -> None:
    found = result_of((4.0, 0.2), (1.0, 0.62), (0.5, 0.62))
    assert found.measurement is None
    assert found.shortfall == (
        "no probed load, from 0.5 requests/s on, keeps the SLO for 95 % of the requests; the "
        "nearest, 0.5 requests/s, keeps it for 62 %, and 95 % of them stay under "
        "ttft_ms 812 (limit 200), tpot_ms 38 (limit 40)"
    )
    assert result_of((4.0, 1.0)).shortfall == ""


def test_a_search_that_failed_says_why() -> None:
    search = CapacitySearch(kind="rate", start=4.0, seconds=60.0, limit_s=960.0)
    found = CapacityResult(search=search, slo=SLO, problem="it crashed (crash)")
    assert found.measurement is None
    assert found.shortfall == "the capacity was not measured: it crashed (crash)"


def test_a_search_needs_time_for_a_few_probes() -> None:
    assert CapacitySearch.within("rate", 4.0, 60.0, 239.0) is None
    short = CapacitySearch.within("rate", 4.0, 60.0, 300.0)
    long = CapacitySearch.within("rate", 4.0, 60.0, math.inf)
    assert short is not None
    assert long is not None
    assert (short.limit_s, long.limit_s) == (300.0, 960.0)
