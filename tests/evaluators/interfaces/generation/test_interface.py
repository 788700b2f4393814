"""The interface `generation` with a made-up engine whose time is counted, not measured."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators.interfaces.builtin import RequestSet, interface_of
from tunefront.evaluators.interfaces.endpoint import Facts
from tunefront.evaluators.interfaces.generation import (
    Generation,
    GenerationEndpoint,
    GenerationRequest,
    GenerationResponse,
    TokenEvent,
    generate,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.statistics.timing import Timing
from tunefront.spaces import EvaluationError, ExportError, SpaceError, WorkloadError

GENERATION = Generation()
TOKEN_S = 0.01


class Engine(GenerationEndpoint):
    """Generates a token of every request in progress each `TOKEN_S` of made-up time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error_after: int = 1 << 30) -> None:
        self.now = 0.0
        self.number = 0
        self.running: dict[int, GenerationRequest] = {}
        self.most = 0
        self.sent_at: list[float] = []
        self.tokens = 0
        self.error_after = error_after
        self.short = 0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def submit(self, request: GenerationRequest) -> int:
        self.number += 1
        self.running[self.number] = request
        self.sent_at.append(self.now)
        self.most = max(self.most, len(self.running))
        return self.number

    def poll(self, timeout_s: float) -> Sequence[TokenEvent]:
        if not self.running:
            self.now += timeout_s
            return ()
        self.now += TOKEN_S
        events = []
        for number, request in list(self.running.items()):
            left = request.new_tokens - 1
            self.tokens += 1
            error = "no memory" if self.tokens > self.error_after else ""
            end = left <= self.short or bool(error)
            events.append(
                TokenEvent(request=number, tokens=(left,), arrival_s=self.now, end=end, error=error)
            )
            if end:
                del self.running[number]
            else:
                self.running[number] = GenerationRequest(prompt=(0,), new_tokens=left)
        return events

    def cancel(self, request: int) -> None:
        self.running.pop(request, None)

    def facts(self) -> Facts:
        return {}


class Watch:
    def start(self) -> None:
        """Nothing is counted."""

    def stop(self) -> tuple[float, float]:
        return 1.0, 0.0


def requests(count: int, new_tokens: int = 4) -> list[GenerationRequest]:
    return [GenerationRequest(prompt=(n, n + 1), new_tokens=new_tokens) for n in range(count)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch)


def test_one_request_at_a_time_waits_for_the_one_before(engine: Engine) -> None:
    found = generate(engine, requests(3))
    assert engine.most == 1
    assert engine.now == pytest.approx(3 * 4 * TOKEN_S)
    for response in found:
        assert response.tokens == (3, 2, 1, 0)
        assert response.arrival_s == pytest.approx([TOKEN_S * n for n in (1, 2, 3, 4)])


@pytest.mark.parametrize("concurrency", [2, 4, 16])
def test_a_closed_loop_has_a_number_of_requests_in_progress(
    engine: Engine, concurrency: int
) -> None:
    generate(engine, requests(8), Load(concurrency=concurrency))
    assert engine.most == min(concurrency, 8)
    assert engine.now == pytest.approx(8 / min(concurrency, 8) * 4 * TOKEN_S)


def test_an_open_loop_sends_without_waiting_for_the_end(engine: Engine) -> None:
    """The mean gap is one over the rate; the same times in every run."""
    load = Load(rate_per_s=50.0)
    generate(engine, requests(400, new_tokens=20), load)
    gaps = np.diff(engine.sent_at)
    assert engine.most > 1
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.2)
    again = engine.sent_at
    engine.sent_at, engine.now = [], 0.0
    generate(engine, requests(400, new_tokens=20), load)
    np.testing.assert_allclose(np.diff(engine.sent_at), np.diff(again))


def test_a_failed_request_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvaluationError, match="a request failed: no memory") as caught:
        generate(Engine(monkeypatch, error_after=5), requests(3))
    assert caught.value.cause == "exception"


def test_missing_tokens_are_an_error(engine: Engine) -> None:
    engine.short = 2
    with pytest.raises(EvaluationError, match="a request for 4 tokens returned 2") as caught:
        generate(engine, requests(1))
    assert caught.value.cause == "invalid output"


def test_tokens_of_a_cancelled_request_are_ignored(engine: Engine) -> None:
    engine.submit(requests(1)[0])
    (found,) = generate(engine, requests(1))
    assert found.tokens == (3, 2, 1, 0)


def test_a_block_is_whole_passes_under_the_load(engine: Engine) -> None:
    made = requests(2)
    block = GENERATION.run_block(engine, made, Load(concurrency=2), 0.1, Watch())
    assert block.request_s.shape == (4, 2)  # a pass takes 0.04 s; the third ends after it is sent
    assert block.wall_s == pytest.approx(0.16)
    assert block.request_s.sum() == pytest.approx(0.32)  # requests overlap
    timing = Timing(blocks=[[block]] * 3, items=GENERATION.size(made).items)
    found = GENERATION.measurements(timing)
    assert found["output_tokens_per_second"].value == pytest.approx(32 / 0.16)
    assert found["time_to_first_token_ms"].value == pytest.approx(1e3 * TOKEN_S)
    assert found["time_per_token_ms"].value == pytest.approx(1e3 * TOKEN_S)
    assert {m.name: m.unit for m in GENERATION.metrics} == {n: m.unit for n, m in found.items()}


def test_warm_up_ends_when_passes_are_steady(engine: Engine) -> None:
    assert GENERATION.warm_up(engine, requests(2), Load(), 100.0) == pytest.approx(0.16)


def test_a_pass_has_the_size_of_its_prompts_and_outputs() -> None:
    size = GENERATION.size(requests(3, new_tokens=5))
    assert (size.items, size.tokens) == (15, 6)


def test_requests_and_their_load_are_written_and_read(tmp_path: Path) -> None:
    made = RequestSet(interface=GENERATION, load=Load(concurrency=3), requests=requests(2))
    made.write(tmp_path)
    again = RequestSet.read(tmp_path)
    assert again.interface.name == "generation"
    assert (again.load, list(again.requests)) == (made.load, made.requests)


def test_a_sample_is_written_and_read(tmp_path: Path) -> None:
    (request,) = requests(1)
    GENERATION.write_sample(request, GenerationResponse(tokens=(1, 2)), tmp_path)
    assert GENERATION.read_sample(tmp_path) == (request, GenerationResponse(tokens=(1, 2)))
    (tmp_path / "sample.json").write_text('{"prompt": [1]}')
    with pytest.raises(ExportError, match=r"sample\.json can't be read"):
        GENERATION.read_sample(tmp_path)


@pytest.mark.parametrize(
    ("now", "same", "holds"),
    [
        (range(10), 10, True),
        ([*range(9), 99], 9, True),
        ([*range(8), 98, 99], 8, False),
        (range(5), 5, False),
        ([99, *range(1, 10)], 0, False),
    ],
)
def test_tokens_are_compared_up_to_the_first_difference(
    now: Sequence[int], same: int, holds: bool
) -> None:
    recorded = GenerationResponse(tokens=tuple(range(10)))
    found = GENERATION.compare(recorded, GenerationResponse(tokens=tuple(now)), 1e-3)
    assert found.holds is holds
    assert found.detail.startswith(f"{same} of 10 tokens are the recorded ones")


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


def test_an_unknown_interface_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match="unknown interface 'tensor'; did you mean 'tensors'"):
        interface_of("tensor")
