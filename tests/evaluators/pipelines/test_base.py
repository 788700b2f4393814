"""Results of a round: ratios within turns, by one clock, of the turns that count."""

import numpy as np
import pytest

from tunefront.evaluators.benchmark.interleaved import InterleavedRun, last_turn_disturbed
from tunefront.evaluators.benchmark.outcome import measured
from tunefront.evaluators.benchmark.target import TargetResult
from tunefront.evaluators.evaluation.protocol import Protocol
from tunefront.evaluators.pipelines.base import RoundResult
from tunefront.evaluators.pipelines.inference import round_result_of
from tunefront.evaluators.statistics.timing import Block, Timing

TURNS = 7


def timed(seconds: float, threads: int, load: float = 0.0) -> TargetResult:
    """A candidate of three items, slowed by a load that its last thread waits for."""
    slower = seconds * (1 + load)
    block = Block(
        request_s=np.full((1, 1), slower),
        cpu_s=threads * seconds,
        wait_s=slower - seconds,
    )
    timing = Timing(blocks=[[block]] * TURNS, items=3, threads=threads)
    return TargetResult(timing=timing, measurements={}, facts={"clock": timing.clock})


def in_round(seconds: float, threads: int, load: float = 0.0) -> RoundResult:
    found = round_result_of(timed(seconds, threads, load))
    assert found is not None
    return found


def test_a_round_has_rates_by_both_clocks_where_cpu_time_can_be_one() -> None:
    one, two = in_round(0.1, 1, load=0.5), in_round(0.1, 2, load=0.5)
    assert one.rates == pytest.approx([20.0] * TURNS)
    assert one.cpu_rates == pytest.approx([30.0] * TURNS)
    assert two.rates == pytest.approx([20.0] * TURNS)
    assert two.cpu_rates == ()


@pytest.mark.parametrize("load", [0.0, 0.049, 1.0])
@pytest.mark.parametrize(("own", "base"), [(1, 2), (2, 1), (1, 1), (2, 2)])
def test_a_load_on_both_changes_no_ratio_of_a_round(own: int, base: int, load: float) -> None:
    ratios = in_round(0.1, own, load).ratios_to(in_round(0.2, base, load))
    assert ratios == pytest.approx([2.0] * TURNS)


@pytest.mark.parametrize(("threads", "clock"), [(1, "cpu"), (2, "wall")])
def test_a_trial_s_ratio_and_its_clock(threads: int, clock: str) -> None:
    """4.9 % is a load that counts as undisturbed; the trial's own clock is CPU time."""
    pair = [timed(0.1, 1, load=0.049), timed(0.2, threads, load=0.049)]
    run = InterleavedRun(target_results=pair, machine={}, waited_s=0.0)
    found = measured(Protocol(), run)
    assert found.relative is not None
    assert found.relative.value == pytest.approx(2.0)
    assert (found.facts["clock"], found.facts["ratio_clock"]) == ("cpu", clock)
    assert found.warnings == ()
    alone = measured(Protocol(), InterleavedRun(target_results=pair[:1], machine={}, waited_s=0.0))
    assert "ratio_clock" not in alone.facts


def test_a_disturbed_baseline_is_a_warning_by_the_wall_clock() -> None:
    for threads, warnings in ((1, 0), (2, 1)):
        pair = [timed(0.1, 1), timed(0.2, threads, load=0.5)]
        run = InterleavedRun(target_results=pair, machine={}, waited_s=0.0)
        assert len(measured(Protocol(), run).warnings) == warnings
    assert measured(Protocol(), run).warnings == ("other processes used the cores in 7 of 7 turns",)


@pytest.mark.parametrize(
    ("targets", "waits"),
    [
        ([(1, 0.5)], False),
        ([(2, 0.5)], True),
        ([(2, 0.0)], False),
        ([(1, 0.5), (1, 0.5)], False),
        ([(1, 0.5), (2, 0.0)], True),
        ([(2, 0.5), (1, 0.0)], True),
        ([(2, 0.0), (1, 0.5)], True),
        ([(1, 0.0), (1, 0.5), (2, 0.0)], False),
        ([(1, 0.0), (1, 0.0), (2, 0.5)], True),
    ],
)
def test_a_turn_waits_where_a_ratio_by_the_wall_clock_was_disturbed(
    targets: list[tuple[int, float]], waits: bool
) -> None:
    """Threads and load of each; the first is the reference."""
    timings = [timed(0.1, threads, load).timing for threads, load in targets]
    assert last_turn_disturbed(timings) is waits


def test_turns_that_were_disturbed_for_either_do_not_count() -> None:
    own = RoundResult(rates=[2.0] * 5, undisturbed=[True] * 4 + [False], values={})
    base = RoundResult(
        rates=[1.0, 0.5, 1.0, 1.0, 1.0], undisturbed=[True, False, True, True, True], values={}
    )
    assert own.ratios_to(base) == [2.0, 2.0, 2.0]
    assert own.undisturbed_with(base)
    noisy = RoundResult(rates=[1.0] * 5, undisturbed=[False] * 5, values={})
    assert own.ratios_to(noisy) == [2.0] * 5
    assert not own.undisturbed_with(noisy)


def test_without_turns_there_are_no_ratios() -> None:
    """As a pipeline returns it that measures nothing in turns."""
    plain = RoundResult(rates=(), undisturbed=(), values={"loss": 2.0})
    assert plain.ratios_to(plain) == []
    assert plain.undisturbed_with(plain)
