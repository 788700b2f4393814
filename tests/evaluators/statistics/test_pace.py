"""The machine's pace, from the candidates of the same turns.

The simulations draw a machine that drifts slowly (a first-order process) while two equal candidates
take turns on it, and requests of a known distribution.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tunefront.evaluators.interfaces.tensors import LATENCY_P99, speed_of
from tunefront.evaluators.statistics.arrays import Floats
from tunefront.evaluators.statistics.pace import paces
from tunefront.evaluators.statistics.timing import Block, Timing

from .timings import block, of_seconds, timing_of

RUNS = 60
NORMAL_99 = 2.3263
REQUEST_MS = 10.0


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a simulated run varies by, as standard deviations of logarithms."""

    drift: float = 0.0
    turns: float = 0.0
    requests: float = 0.02
    items: float = 0.0
    parts: int = 1

    def pace(
        self, random: np.random.Generator, turns: int = 24, correlation: float = 0.9
    ) -> Floats:
        """Return the logarithm of its slowness in each turn."""
        found = np.zeros(turns)
        state = random.normal()
        for turn in range(turns):
            state = correlation * state + (1 - correlation**2) ** 0.5 * random.normal()
            found[turn] = self.drift * state
        return found

    def candidates(self, random: np.random.Generator, drift: Floats) -> list[Timing]:
        """Return two equal candidates, timed with the same requests in the same turns."""
        items = np.exp(self.items * random.normal(size=(self.parts, 8)))

        def turn(number: int) -> Block:
            own = self.turns * random.normal() + self.requests * random.normal(size=(4, 8))
            seconds = REQUEST_MS / 1e3 * items[number % self.parts] * np.exp(own + drift[number])
            return Block(request_s=seconds, cpu_s=float(seconds.sum()), wait_s=0.0)

        return [
            Timing(
                blocks=[[turn(number)] for number in range(len(drift))],
                items=8,
                parts=self.parts,
                threads=1,
            )
            for _ in range(2)
        ]


def tail_errors(machine: Machine, *, alone: bool = False, known: bool = True) -> Floats:
    """Return the relative error of the p99 in each run, at the machine's median pace."""
    found: list[float] = []
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        drift = machine.pace(random)
        own, other = machine.candidates(random, drift)
        pace = paces([own] if alone else [own, other])[0]
        p99 = speed_of(replace(own, pace=pace) if known else own)[LATENCY_P99.name].value
        spread = (machine.turns**2 + machine.requests**2 + machine.items**2) ** 0.5
        truth = REQUEST_MS * np.exp(NORMAL_99 * spread + np.median(drift))
        found.append(p99 / truth - 1)
    return np.array(found)


@pytest.mark.parametrize(
    ("machine", "alone", "most"),
    [
        (Machine(drift=0.07, turns=0.006), False, 0.008),
        (Machine(drift=0.07), True, 0.03),
        (Machine(drift=0.03, turns=0.01), False, 0.015),
    ],
)
def test_a_drift_of_the_machine_is_no_tail(machine: Machine, alone: bool, most: float) -> None:
    """Beside an equal candidate the drift disappears; alone a part of it does."""
    before, after = (tail_errors(machine, alone=alone, known=known) for known in (False, True))
    assert np.median(np.abs(after)) <= most
    assert np.median(np.abs(after)) < 0.7 * np.median(np.abs(before))


@pytest.mark.parametrize("alone", [False, True])
def test_a_tail_of_a_candidate_s_own_stays(alone: bool) -> None:
    """Turns that differ on a steady machine are the candidate's; the other's noise is not added."""
    machine = Machine(turns=0.03, requests=0.01)
    before, after = (tail_errors(machine, alone=alone, known=known) for known in (False, True))
    assert np.median(after - before) == pytest.approx(0.0, abs=0.005)


@pytest.mark.parametrize("alone", [False, True])
def test_lengths_of_texts_are_no_pace(alone: bool) -> None:
    """Both candidates are slow in the part with long texts: that is not the machine."""
    seconds = [0.01 if turn % 2 else 0.02 for turn in range(24)]
    own = replace(of_seconds(seconds), parts=2)
    for pace in paces([own] if alone else [own, own]):
        np.testing.assert_allclose(pace, 1.0)


def test_pace_is_relative_to_the_median_turn() -> None:
    """A short slow phase does not move the others."""
    seconds = [0.02] * 4 + [0.01] * 20
    own, other = of_seconds(seconds), of_seconds([3 * each for each in seconds])
    for pace in paces([own, other]):
        np.testing.assert_allclose(pace, [0.5] * 4 + [1.0] * 20)


def test_a_turn_that_is_disturbed_for_either_keeps_its_times() -> None:
    calm = [block(each) for each in [0.01] * 9 + [0.02] * 3]
    disturbed = block(0.9, cpu_s=0.9, wait_s=0.9)
    for pace in paces([timing_of(calm), timing_of([disturbed, *calm[1:]])]):
        np.testing.assert_allclose(pace, [1.0] * 9 + [0.5] * 3, rtol=0.01)


def test_few_turns_have_no_pace() -> None:
    own = of_seconds([0.01, 0.02, 0.04])
    assert [pace.tolist() for pace in paces([own, own])] == [[1.0] * 3] * 2
    assert [pace.tolist() for pace in paces([own])] == [[1.0] * 3]
