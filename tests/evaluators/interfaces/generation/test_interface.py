"""The interface `generation`: its files, its passes, and how responses are compared."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tunefront.evaluators.interfaces.builtin import (
    RequestSet,
    highest_set,
    interface_of,
    read_request_sets,
    write_request_sets,
)
from tunefront.evaluators.interfaces.generation import (
    Generation,
    GenerationRequest,
    GenerationResponse,
)
from tunefront.evaluators.interfaces.load import Load
from tunefront.spaces import ExportError, SpaceError

from .simulated_engine import SimulatedEngine

GENERATION = Generation()


def requests(count: int, new_tokens: int = 4) -> list[GenerationRequest]:
    return [GenerationRequest(prompt=(n, n + 1), new_tokens=new_tokens) for n in range(count)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SimulatedEngine:
    return SimulatedEngine(monkeypatch, step_s=0.01)


def test_warm_up_ends_when_passes_are_steady(engine: SimulatedEngine) -> None:
    assert GENERATION.warm_up(engine, requests(2), Load(), 100.0) == pytest.approx(0.16)


def test_warm_up_of_an_open_loop_does_not_wait_for_its_times(engine: SimulatedEngine) -> None:
    """Two passes of two requests at a time, although one arrives in 1,000 s."""
    load = Load(rate_per_s=0.001)
    assert GENERATION.warm_up(engine, requests(2), load, 100.0) == pytest.approx(0.08)


def test_warm_up_of_an_open_loop_runs_as_many_requests_as_a_pass_of_its_load_has(
    engine: SimulatedEngine,
) -> None:
    load = Load(rate_per_s=1.0)
    few, many = (GENERATION.warm_up(engine, requests(n), load, 100.0) for n in (8, 64))
    assert many == pytest.approx(few)


def test_metrics_that_need_an_slo_or_several_tokens_are_named_with_the_key() -> None:
    always = GENERATION.not_measured({"ttft_ms": 1.0}, None)
    assert set(always) == {"capacity"} and "finalists only" in always["capacity"]
    text = GENERATION.not_measured({}, 8)["goodput"]
    assert text.startswith("it needs limits: add the key workload.slo, such as {ttft_ms: 500")
    single = GENERATION.not_measured({"ttft_ms": 1.0}, 1)
    between = {f"{n}{end}_ms" for n in ("tpot", "itl") for end in ("", "_p90", "_p99")}
    assert set(single) == {"capacity", *between}
    assert "raise output_tokens" in single["tpot_ms"]


def test_a_pass_has_the_size_of_its_prompts_and_outputs() -> None:
    size = GENERATION.size(requests(3, new_tokens=5))
    assert (size.items, size.tokens) == (15, 6)


def test_requests_and_their_load_are_written_and_read(tmp_path: Path) -> None:
    made = RequestSet(
        interface=GENERATION,
        load=Load(concurrency=3),
        requests=requests(2),
        slo={"ttft_ms": 500.0},
    )
    write_request_sets([made], tmp_path)
    again = read_request_sets(tmp_path)[""]
    assert again.interface.name == "generation"
    assert (again.load, list(again.requests)) == (made.load, made.requests)
    assert again.slo == {"ttft_ms": 500.0}
    assert again.load_of(4) == Load(concurrency=3, seed=4)


def test_lower_levels_have_the_first_requests_of_the_highest(tmp_path: Path) -> None:
    sets = [
        RequestSet(
            interface=GENERATION,
            load=Load(concurrency=number),
            level=str(number),
            requests=requests(2 * number),
        )
        for number in (1, 16, 4)
    ]
    write_request_sets(sets, tmp_path)
    again = read_request_sets(tmp_path)
    assert [len(one.requests) for one in again.values()] == [2, 32, 8]
    assert list(again["4"].requests) == list(again["16"].requests)[:8]
    assert again["4"].load_of(3) == Load(concurrency=4, seed=3)
    assert highest_set(again).level == "16"


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


def test_an_unknown_interface_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match="unknown interface 'tensor'; did you mean 'tensors'"):
        interface_of("tensor")
