"""Which clock and which turns count; every property is computed once."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tunefront.evaluators.evaluation.protocol import Protocol, enough
from tunefront.evaluators.interfaces.tensors import (
    speed_of,
)
from tunefront.evaluators.statistics.timing import (
    Block,
    Timing,
    half_width,
    kept_turns,
    pair_clock,
    ratios,
    undisturbed_turns,
)

from .timings import REQUESTS, block, of_seconds, sized, timing_of

# Which clock


@pytest.mark.parametrize(
    ("threads", "cpu_s", "wait_s", "clock"),
    [
        (1, 0.1, 0.0, "cpu"),
        (1, 0.098, 0.0, "cpu"),
        (1, 0.06, 0.04, "cpu"),
        (1, 0.09, 0.0, "wall"),
        (1, 0.12, 0.0, "wall"),
        (2, 0.1, 0.0, "wall"),
        (None, 0.1, 0.0, "wall"),
    ],
)
def test_cpu_time_is_the_clock_where_the_work_is_one_thread_s_own(
    threads: int | None, cpu_s: float, wait_s: float, clock: str
) -> None:
    """CPU time and waiting make up the wall clock to 3 %, and there is one thread on the CPU."""
    assert timing_of([block(0.05, cpu_s=cpu_s, wait_s=wait_s)] * 5, threads).clock == clock


def test_one_odd_turn_does_not_change_the_clock() -> None:
    assert timing_of([*[block()] * 4, block(cpu_s=0.01)], threads=1).clock == "cpu"


def test_replicas_are_timed_by_the_wall_clock() -> None:
    timing = Timing(blocks=[[block(), block()]] * 3, threads=1, **sized(REQUESTS, 3))
    assert timing.clock == "wall"


def test_time_that_others_took_does_not_count_by_the_cpu_clock() -> None:
    calm = timing_of([block(0.05)] * 5, threads=1)
    disturbed = timing_of([block(0.10, cpu_s=0.1, wait_s=0.1)] * 5, threads=1)
    np.testing.assert_allclose(disturbed.rate, calm.rate)
    np.testing.assert_allclose(disturbed.latency_s, calm.latency_s)
    by_wall = timing_of([block(0.10, cpu_s=0.1, wait_s=0.1)] * 5, threads=2)
    np.testing.assert_allclose(by_wall.rate, calm.rate / 2)


# Which turns


def brute_kept(clean: Sequence[bool]) -> list[bool]:
    """The clean ones, if there are three and a third of all; else all."""
    wanted = len(clean) // 3
    number = sum(clean)
    return list(clean) if number >= 3 and number >= wanted else [True] * len(clean)


def test_the_turns_that_count_are_the_clean_ones_where_they_are_enough() -> None:
    for length in range(1, 9):
        for clean in itertools.product([False, True], repeat=length):
            assert kept_turns(np.array(clean)).tolist() == brute_kept(clean)
    nine_of_thirty = np.arange(30) < 9
    assert kept_turns(nine_of_thirty).all()
    ten_of_thirty = np.arange(30) < 10
    assert kept_turns(ten_of_thirty).tolist() == ten_of_thirty.tolist()


def test_a_turn_is_clean_where_all_its_replicas_were() -> None:
    dirty = block(wait_s=1.0)
    timing = Timing(blocks=[[block(), block()], [block(), dirty]], **sized(REQUESTS, 2))
    assert timing.clean.tolist() == [True, False]


def test_turns_in_which_others_were_in_the_way_do_not_count() -> None:
    turns = [*[block(0.05)] * 4, block(0.5, wait_s=0.9)]
    timing = timing_of(turns)
    assert timing.kept.tolist() == [True] * 4 + [False]
    assert speed_of(timing)["latency_ms"].high == pytest.approx(50)
    beside = timing_of([*[block(0.1)] * 3, block(0.9, wait_s=0.9), block(0.1)])
    np.testing.assert_allclose(ratios(timing, beside), [2.0, 2.0, 2.0])


def test_a_ratio_is_taken_turn_by_turn() -> None:
    """A machine that gets slower drags both along; what they are to one another stays."""
    drift = np.linspace(1, 3, 8)
    own, beside = (of_seconds([part * each for each in drift]) for part in (0.02, 0.05))
    np.testing.assert_allclose(ratios(own, beside), 2.5)
    assert half_width(own, beside) < 1e-9 < 0.1 < half_width(own)


def loaded(seconds: float, threads: int, load: float, turns: int = 7) -> Timing:
    """A candidate that a load makes slower by a share: its last thread waits for its core."""
    slower = seconds * (1 + load)
    one = block(slower, cpu_s=2 * threads * seconds, wait_s=2 * (slower - seconds))
    return timing_of([one] * turns, threads=threads)


@pytest.mark.parametrize("load", [0.0, 0.049, 0.5, 1.0])
@pytest.mark.parametrize(("own", "beside"), [(1, 2), (2, 1), (1, 1), (2, 2)])
def test_a_ratio_has_one_clock_so_that_a_load_on_both_leaves_it_as_it_is(
    own: int, beside: int, load: float
) -> None:
    """One thread has CPU time as its clock, two have wall time; 4.9 % counts as undisturbed."""
    one, other = loaded(0.05, own, load), loaded(0.1, beside, load)
    assert one.clock == ("cpu" if own == 1 else "wall")
    assert pair_clock(one, other) == pair_clock(other, one)
    assert pair_clock(one, other) == ("cpu" if own == beside == 1 else "wall")
    assert one.clean.all() == other.clean.all() == (load < 0.05)
    np.testing.assert_allclose(ratios(one, other), 2.0)
    assert half_width(one, other) == pytest.approx(0.0, abs=1e-9)


def test_a_pair_by_the_wall_clock_is_disturbed_where_either_is() -> None:
    clean, dirty = block(0.1), block(0.2, cpu_s=0.2, wait_s=0.2)
    single = timing_of([clean, dirty, clean], threads=1)
    double = timing_of([dirty, clean, clean], threads=2)
    assert (single.clock, double.clock) == ("cpu", "wall")
    assert undisturbed_turns(single).tolist() == [True, False, True]
    assert undisturbed_turns(single, single).tolist() == [True, False, True]
    assert undisturbed_turns(single, double).tolist() == [False, False, True]
    assert undisturbed_turns(double, single).tolist() == [False, False, True]


def test_requests_are_told_apart_by_part_and_place() -> None:
    """Turns 0 and 2 ran part 0, turn 1 ran part 1; a disturbed turn does not count."""
    turns = [
        Block(request_s=np.array([[first, second]]), cpu_s=1.0, wait_s=0.0)
        for first, second in ((1.0, 2.0), (3.0, 4.0), (1.5, 2.5))
    ]
    timing = Timing(blocks=[[turn] for turn in turns], items=2, parts=2)
    found = [times.tolist() for times in timing.request_times]
    assert found == [[1.0, 1.5], [2.0, 2.5], [3.0], [4.0]]


def test_percentiles_use_the_clock_of_the_median() -> None:
    """Half of the wall time went to other processes: no request took that long by itself."""
    turns = [block(0.10, cpu_s=0.1, wait_s=0.1)] * 5
    by_cpu, by_wall = (speed_of(timing_of(turns, threads)) for threads in (1, 2))
    for name in ("latency_ms", "latency_p90_ms", "latency_p99_ms"):
        assert by_cpu[name].value == pytest.approx(50)
        assert by_wall[name].value == pytest.approx(100)


def test_what_differs_between_parts_of_the_sample_is_no_noise_of_a_ratio() -> None:
    """One part has more padding in large batches: the sample's ratio is between both parts'."""
    random = np.random.default_rng(0)
    noise = np.exp(0.01 * random.normal(size=(2, 8)))
    base = [block(0.1 * each) for each in noise[0]]
    own = [block(0.05 * (1.2 if turn % 2 else 1.0) * each) for turn, each in enumerate(noise[1])]
    sized_parts = {**sized(REQUESTS, 8), "parts": 2}
    one, other = (Timing(blocks=[[turn] for turn in turns], **sized_parts) for turns in (own, base))
    found = ratios(one, other)
    assert float(np.log(found).mean()) == pytest.approx(np.log(2 / 1.2**0.5), abs=0.02)
    assert half_width(one, other) < 0.025
    whole = (timing_of(turns) for turns in (own, base))
    assert half_width(*whole) > 0.08


# Every property is computed once


def random_turns(turns: int, replicas: int, idle: float, seed: int) -> list[list[Block]]:
    """Blocks of random length, some disturbed; `idle` of their time on no core."""
    random = np.random.default_rng(seed)

    def one() -> Block:
        request_s = random.lognormal(-3, 0.3, (int(random.integers(1, 5)), 2))
        wall_s, wait = float(request_s.sum()), random.choice([0.0, 0.2], p=[0.8, 0.2])
        cpu_s = wall_s * (1 - wait - idle * random.random())
        return Block(request_s=request_s, cpu_s=cpu_s, wait_s=wall_s * wait)

    return [[one() for _ in range(replicas)] for _ in range(turns)]


class Plain:
    """The same as `Timing`, computed anew wherever it is needed."""

    def __init__(self, timing: Timing) -> None:
        self.blocks, self.threads = timing.blocks, timing.threads

    def wall_s(self, block: Block) -> float:
        return float(block.request_s.sum())

    def clock(self) -> str:
        if self.threads != 1 or any(len(turn) != 1 for turn in self.blocks):
            return "wall"
        blocks = [block for turn in self.blocks for block in turn]
        missed = [abs(b.cpu_s + b.wait_s - self.wall_s(b)) / self.wall_s(b) for b in blocks]
        return "cpu" if float(np.median(missed)) <= 0.03 else "wall"

    def own_s(self, block: Block) -> float:
        return block.cpu_s if self.clock() == "cpu" else self.wall_s(block)

    def rate(self) -> list[float]:
        return [sum(len(b.request_s) / self.own_s(b) for b in turn) for turn in self.blocks]

    def wall_rate(self) -> list[float]:
        return [sum(len(b.request_s) / self.wall_s(b) for b in turn) for turn in self.blocks]

    def latency_s(self) -> list[float]:
        def typical(block: Block) -> float:
            return float(np.median(block.request_s) * self.own_s(block) / self.wall_s(block))

        return [float(np.median([typical(block) for block in turn])) for turn in self.blocks]

    def clean(self) -> list[bool]:
        return [all(b.wait_s <= 0.05 * self.wall_s(b) for b in turn) for turn in self.blocks]

    def kept(self) -> list[bool]:
        clean = self.clean()
        return clean if sum(clean) >= max(3, len(clean) // 3) else [True] * len(clean)


@pytest.mark.parametrize("turns", [1, 2, 7, 40])
@pytest.mark.parametrize(
    ("replicas", "threads", "idle", "clock"),
    [(1, 1, 0.01, "cpu"), (1, 1, 0.9, "wall"), (1, 2, 0.0, "wall"), (2, 1, 0.0, "wall")],
)
def test_what_is_computed_once_is_what_is_computed_anew_to_the_last_bit(
    turns: int, replicas: int, threads: int, idle: float, clock: str
) -> None:
    for seed in range(5):
        blocks = random_turns(turns, replicas, idle, seed)
        timing = Timing(blocks=blocks, threads=threads, **sized(REQUESTS, turns))
        plain = Plain(timing)
        for _ in range(2):  # the second time from what is kept
            assert timing.clock == plain.clock()
            assert timing.rate.tolist() == plain.rate()
            assert timing.wall_rate.tolist() == plain.wall_rate()
            assert timing.latency_s.tolist() == plain.latency_s()
            assert timing.clean.tolist() == plain.clean()
            assert timing.kept.tolist() == plain.kept()
            assert timing.items == 4
    turned = random_turns(40, replicas, idle, 0)
    many = Timing(blocks=turned, threads=threads, **sized(REQUESTS, 40))
    assert many.clock == clock


class Walked(tuple[list[Block], ...]):
    """Turns that count how often they are walked over."""

    walks = 0

    def __iter__(self) -> Iterator[list[Block]]:
        type(self).walks += 1
        return super().__iter__()


def test_a_question_walks_over_the_turns_a_few_times_however_many_there_are() -> None:
    walks: list[int] = []
    for turns in (20, 400):
        Walked.walks = 0
        own, beside = (
            Timing(
                blocks=Walked(random_turns(turns, 1, 0.01, seed)),
                threads=1,
                **sized(REQUESTS, turns),
            )
            for seed in (1, 2)
        )
        assert not enough(own, 1.0, Protocol(seconds=10, precision=1e-9), beside)
        assert own.rate is own.rate
        walks.append(Walked.walks)
    assert walks[0] == walks[1] <= 8
