"""Timed blocks: whole passes at the full load, and rates that no ramp distorts."""

from collections.abc import Sequence

import numpy as np
import pytest

from tunefront.evaluators.interfaces.generation import Generation, GenerationRequest
from tunefront.evaluators.interfaces.generation.requests import distinct_requests
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.polled.timed_block import (
    BETWEEN_TOKENS,
    FIRST_TOKEN,
    GAPS,
    timed_block,
)
from tunefront.evaluators.statistics.timing import Block

from .simulated_engine import SimulatedEngine, Watch, requests_of

STEP_S = 0.01
LENGTHS = (12, 20, 9, 31, 16, 24, 5, 27)


def block_of(
    engine: SimulatedEngine, made: Sequence[GenerationRequest], load: Load, least_s: float = 0.0
) -> Block:
    return timed_block(engine, made, load, least_s, Watch(), distinct_requests)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SimulatedEngine:
    return SimulatedEngine(monkeypatch, step_s=STEP_S)


def test_a_block_is_whole_passes_after_the_load_has_been_reached(engine: SimulatedEngine) -> None:
    """Two requests of 4 tokens take 0.04 s: they are sent untimed, then three times for 0.12 s."""
    block = block_of(engine, requests_of([4, 4]), Load(concurrency=2), 0.1)
    assert block.request_s.shape == (3, 2)
    assert block.wall_s == pytest.approx(0.12)
    assert block.pass_count == pytest.approx(3)
    assert block.overlap == pytest.approx(2)
    np.testing.assert_allclose(block.request_s, 0.04)
    np.testing.assert_allclose(block.samples[FIRST_TOKEN], STEP_S)
    np.testing.assert_allclose(block.samples[BETWEEN_TOKENS], STEP_S)
    np.testing.assert_allclose(block.samples[GAPS], np.full((3, 2, 3), STEP_S))
    assert block.untimed == pytest.approx(2)


def test_one_request_at_a_time_has_one_before_and_none_after(engine: SimulatedEngine) -> None:
    block = block_of(engine, requests_of([4, 6]), Load())
    assert len(engine.received) == 3
    assert block.wall_s == pytest.approx(0.10)
    assert block.untimed == pytest.approx(4 / 5)


def test_a_response_of_one_token_has_no_time_between_tokens(engine: SimulatedEngine) -> None:
    block = block_of(engine, requests_of([1, 3]), Load())
    assert np.isnan(block.samples[BETWEEN_TOKENS][0, 0])
    assert block.samples[GAPS].shape == (1, 2, 2)
    assert np.isnan(block.samples[GAPS][0, 0]).all()
    assert block_of(engine, requests_of([1, 1]), Load()).samples[GAPS].shape == (1, 2, 0)


@pytest.mark.parametrize("concurrency", [1, 3, 4, 16])
def test_all_timed_requests_have_the_full_load(engine: SimulatedEngine, concurrency: int) -> None:
    """Requests follow the timed ones until these have ended; then the rest is cancelled."""
    block_of(engine, requests_of(LENGTHS), Load(concurrency=concurrency))
    assert set(engine.in_progress) == {concurrency}
    assert not engine.running
    assert not engine.waiting


def test_every_turn_begins_with_another_request(engine: SimulatedEngine) -> None:
    """The times are in the order of sending, `first` names the place of the first request."""
    made = requests_of([4, 6, 8])
    for turn in range(4):
        block = block_of(engine, made, Load(seed=turn))
        assert block.first == turn % 3
        np.testing.assert_allclose(
            np.roll(block.request_s, block.first, axis=1)[0], [0.04, 0.06, 0.08]
        )


def test_no_prompt_of_a_run_is_repeated(engine: SimulatedEngine) -> None:
    """A prefix cache finds no prompt of an earlier turn or pass; lengths stay."""
    made = requests_of([1] * 4, prompt=64)
    for turn in range(8):
        block_of(engine, made, Load(concurrency=2, seed=turn), 0.09)
    assert len(engine.received) > 100
    assert len({request.prompt for request in engine.received}) == len(engine.received)
    assert {len(request.prompt) for request in engine.received} == {64}
    assert {token for one in engine.received for token in one.prompt} <= set(range(67))
    (alone,) = requests_of([1], prompt=1)
    assert next(distinct_requests([alone], 3)) == alone


def true_rate(
    monkeypatch: pytest.MonkeyPatch, load: Load, prompt_s: float
) -> tuple[float, list[float]]:
    """Tokens a second of a long run in the steady state, and what 40 blocks say of it."""
    engine = SimulatedEngine(
        monkeypatch, step_s=0.02, each_s=0.003, prompt_s=prompt_s, slots=16, noise=0.05
    )
    least = Generation().least_requests(load)
    made = requests_of(LENGTHS * max(1, least // len(LENGTHS)))
    long = block_of(engine, made, load, 900.0)
    found = [
        block_of(engine, made, Load(concurrency=load.concurrency, seed=turn), 0.1)
        for turn in range(40)
    ]
    tokens = sum(one.new_tokens for one in made)
    return long.pass_count * tokens / long.wall_s, [
        one.pass_count * tokens / one.wall_s for one in found
    ]


@pytest.mark.parametrize("prompt_s", [0.0, 0.05])
@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_the_rate_of_blocks_is_that_of_the_steady_state(
    monkeypatch: pytest.MonkeyPatch, concurrency: int, prompt_s: float
) -> None:
    """Lengths vary, and reading a prompt takes as long as 5 tokens; the bias is below 3 %."""
    truth, found = true_rate(monkeypatch, Load(concurrency=concurrency), prompt_s)
    assert np.mean(found) == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize(("rate", "share"), [(1.0, 1.0), (3.0, 1.0), (50.0, None)])
def test_the_rate_of_an_open_loop_is_the_smaller_of_load_and_engine(
    monkeypatch: pytest.MonkeyPatch, rate: float, share: float | None
) -> None:
    """The mean of 60 blocks of 16 requests has a standard error of 3 %."""
    engine = SimulatedEngine(monkeypatch, step_s=0.01, each_s=0.001, slots=4)
    made = requests_of([20] * 16)
    found = [block_of(engine, made, Load(rate_per_s=rate, seed=turn)) for turn in range(60)]
    tokens = sum(one.pass_count for one in found) * 320 / sum(one.wall_s for one in found)
    wanted = 4 / 0.014 if share is None else rate * 20
    assert tokens == pytest.approx(wanted, rel=0.1)
    assert not engine.running


def test_a_pass_has_as_many_requests_as_are_in_progress() -> None:
    generation = Generation()
    assert generation.least_requests(Load(concurrency=7)) == 14
    assert generation.least_requests(Load(rate_per_s=0.1)) == 16


def test_a_trace_is_replayed_without_requests_before_and_after(engine: SimulatedEngine) -> None:
    """Sent at 0, 0.05 and 0.2 s, served four at a time: the last of 10 tokens ends at 0.3 s."""
    load = Load(times_s=(0.0, 0.05, 0.2), seed=1)
    block = block_of(engine, requests_of([4, 6, 10]), load)
    assert len(engine.received) == 3
    assert block.first == 0
    assert block.untimed == 0
    assert block.request_s.shape == (1, 3)
    np.testing.assert_allclose(np.diff(engine.sent_at), [0.05, 0.15], atol=STEP_S)
    assert block.pass_count == pytest.approx(1)
    assert block.wall_s == pytest.approx(0.3, abs=2 * STEP_S)


@pytest.mark.parametrize("load", [Load(times_s=(0.0, 0.05, 0.2)), Load(rate_per_s=20.0, seed=1)])
def test_the_load_stands_still_while_cpu_times_are_read(
    engine: SimulatedEngine, load: Load
) -> None:
    """Reading them takes a second: what became due in it is not sent at once afterwards."""

    class SlowWatch(Watch):
        def start(self) -> None:
            engine.now += 1.0

    made = requests_of([4, 6, 10])
    block = timed_block(engine, made, load, 0.0, SlowWatch(), distinct_requests)
    usual = block_of(engine, made, load)
    assert block.wall_s == pytest.approx(usual.wall_s, abs=2 * STEP_S)


def test_a_short_trace_is_repeated_with_its_mean_gap(engine: SimulatedEngine) -> None:
    load = Load(times_s=(0.0, 0.05, 0.2))
    block = block_of(engine, requests_of([2, 2, 2]), load, 0.5)
    assert block.request_s.shape == (2, 3)
    gaps = np.diff(engine.sent_at)
    np.testing.assert_allclose(gaps, [0.05, 0.15, 0.1, 0.05, 0.15], atol=STEP_S)


def test_what_prompts_share_stays_the_same() -> None:
    made = [
        GenerationRequest(prompt=(7, 8, 9, *range(10 * n, 10 * n + 4)), new_tokens=1, shared=3)
        for n in range(4)
    ]
    found = [one for _, one in zip(range(40), distinct_requests(made, 2), strict=False)]
    assert {one.prompt[:3] for one in found} == {(7, 8, 9)}
    assert len({one.prompt for one in found}) == 40
    assert {len(one.prompt) for one in found} == {7}
