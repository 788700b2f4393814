"""When requests are sent, and what is recorded of them; by a clock that is counted."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import kstest

from tunefront.evaluators.interfaces.generation import GenerationRequest, TokenEvent, generate
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.load_generator import CANCEL_S, LoadGenerator
from tunefront.spaces import EvaluationError, WorkloadError

from .simulated_engine import SimulatedEngine, requests_of

STEP_S = 0.01


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SimulatedEngine:
    return SimulatedEngine(monkeypatch, step_s=STEP_S)


def test_one_request_at_a_time_waits_for_the_one_before(engine: SimulatedEngine) -> None:
    found = generate(engine, requests_of([4, 4, 4]))
    assert max(engine.in_progress) == 1
    assert engine.now == pytest.approx(3 * 4 * STEP_S)
    for response in found:
        assert response.tokens == (3, 2, 1, 0)
        assert response.arrival_s == pytest.approx([STEP_S * n for n in (1, 2, 3, 4)])


@pytest.mark.parametrize("concurrency", [2, 4, 16])
def test_a_closed_loop_has_a_number_of_requests_in_progress(
    engine: SimulatedEngine, concurrency: int
) -> None:
    lengths = [3, 5, 8, 2, 7, 4, 9, 6] * 4
    generate(engine, requests_of(lengths), Load(concurrency=concurrency))
    tail = engine.sent_at[-1]
    full = [
        n
        for n, at in zip(engine.in_progress, np.arange(1000) * STEP_S, strict=False)
        if at < tail - STEP_S / 2
    ]
    assert set(full) == {concurrency}


def test_an_open_loop_sends_at_random_times_with_its_rate(engine: SimulatedEngine) -> None:
    """Gaps are exponential: the mean to 4 standard errors, the distribution by a test at 0.1 %."""
    rate, count = 50.0, 2000
    generate(engine, requests_of([1] * count), Load(rate_per_s=rate))
    gaps = np.diff(due_times(engine, rate, count))
    assert gaps.mean() * rate == pytest.approx(1, abs=4 / count**0.5)
    assert kstest(gaps * rate, "expon").pvalue > 0.001


def due_times(engine: SimulatedEngine, rate: float, count: int, seed: int = 0) -> list[float]:
    """The times at which requests of an open loop are due, from its generator."""
    run = LoadGenerator(engine, Load(rate_per_s=rate, seed=seed))
    numbers = []
    for request in requests_of([1] * count):
        run.wait()
        numbers.append(run.submit(request))
    run.finish()
    return [one.due_s - run.sent(numbers)[0].due_s for one in run.sent(numbers)]


def test_the_times_of_an_open_loop_depend_on_its_seed_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = due_times(SimulatedEngine(monkeypatch, step_s=0.001), 20.0, 50)
    slow = SimulatedEngine(monkeypatch, step_s=0.3)
    np.testing.assert_allclose(due_times(slow, 20.0, 50), first)
    assert due_times(slow, 20.0, 50, seed=1) != first


def test_the_latency_of_an_open_loop_counts_from_when_a_request_was_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step of 1 s blocks the sending of requests that are due 100 times a second.

    A request that is due in a step is sent after it, and its first token comes with the next one.
    """
    engine = SimulatedEngine(monkeypatch, step_s=1.0)
    found = generate(engine, requests_of([1] * 100), Load(rate_per_s=100.0))
    first = np.array([response.arrival_s[0] for response in found])
    assert first[0] == pytest.approx(1.0)
    assert first[1:].min() > 1.0
    assert np.median(first) == pytest.approx(1.5, abs=0.2)


def test_what_waits_for_the_engine_in_this_process_is_no_lag_of_the_generator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = SimulatedEngine(monkeypatch, step_s=1.0)

    def late() -> float:
        run = LoadGenerator(engine, Load(rate_per_s=2.0))
        numbers = []
        for request in requests_of([1] * 20):
            run.wait()
            numbers.append(run.submit(request))
        run.finish()
        return sum(one.late_s for one in run.sent(numbers))

    assert late() == 0
    monkeypatch.setattr(engine, "processes", lambda: (1,))
    assert late() > 1


class Flood(SimulatedEngine):
    """An engine for which sending takes longer than the time between two requests."""

    def submit(self, request: GenerationRequest) -> int:
        self.now += 0.1
        return super().submit(request)


def test_tokens_are_collected_although_requests_are_always_overdue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Flood(monkeypatch)
    run = LoadGenerator(engine, Load(rate_per_s=1000.0))
    for request in requests_of([1] * 50):
        run.wait()
        run.submit(request)
    assert run.ended > 30


def test_a_failed_request_is_an_error(
    engine: SimulatedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(timeout_s: float) -> Sequence[TokenEvent]:
        return [TokenEvent(request=0, tokens=(), arrival_s=0.0, end=True, error="no memory")]

    monkeypatch.setattr(engine, "poll", failed)
    with pytest.raises(EvaluationError, match="a request failed: no memory") as caught:
        generate(engine, requests_of([4]))
    assert caught.value.cause == "exception"


def test_missing_tokens_are_an_error(engine: SimulatedEngine) -> None:
    run = LoadGenerator(engine, Load())
    number = run.submit(requests_of([4])[0])
    engine.running[:0] = []
    run.collect(1.0)
    run.cancel_rest()
    with pytest.raises(EvaluationError, match="a request for 4 tokens returned 1") as caught:
        run.sent([number])[0].response()
    assert caught.value.cause == "invalid output"


def test_a_response_can_end_early_with_a_stop_token(engine: SimulatedEngine) -> None:
    run = LoadGenerator(engine, Load())
    number = run.submit(GenerationRequest(prompt=(1,), new_tokens=4, stop=(2,)))
    run.collect(1.0)
    run.collect(1.0)
    assert run.sent([number])[0].response().tokens == (3, 2)


def test_tokens_of_an_earlier_run_are_ignored(engine: SimulatedEngine) -> None:
    engine.submit(requests_of([2])[0])
    (found,) = generate(engine, requests_of([4]))
    assert found.tokens == (3, 2, 1, 0)


def test_a_cancelled_request_that_never_ends_is_an_error(
    engine: SimulatedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = LoadGenerator(engine, Load())
    run.submit(requests_of([4])[0])
    monkeypatch.setattr(engine, "cancel", lambda number: engine.waiting.clear())
    message = f"1 cancelled requests had not ended after {CANCEL_S:g} s"
    with pytest.raises(EvaluationError, match=message) as caught:
        run.cancel_rest()
    assert caught.value.cause == "timeout"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"concurrency": 0}, "load: concurrency must be at least 1, but got 0"),
        ({"rate_per_s": 0.0}, "load: rate_per_s must be above 0, but got 0"),
    ],
)
def test_a_load_that_sends_nothing_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        Load(**fields)  # type: ignore[arg-type]
