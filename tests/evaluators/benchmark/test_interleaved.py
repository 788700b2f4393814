"""Real processes that take turns, with a tiny model."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import (
    EvaluationSettings,
    InterleavedRun,
    Isolation,
    Target,
    TargetResult,
    Timing,
    builtin_catalog,
    energy_is_counted,
    take_turns,
    target_of,
)
from tunefront.evaluators.benchmark.interleaved import INTERIM_TURNS
from tunefront.evaluators.benchmark.turn_channel import TurnChannel
from tunefront.spaces import EvaluationError, Value

CORES = len(os.sched_getaffinity(0))
ContenderOf = Callable[..., Target]


@pytest.fixture
def ready(lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path) -> ContenderOf:
    """A contender by its choices."""

    def make(**values: Value) -> Target:
        chosen = builtin_catalog().complete(
            {"runtime": "torch", "threads": 1, "batch_size": 1, **values}
        )
        return target_of(lm_setting, chosen, isolation, tmp_path / "log")

    return make


@pytest.fixture
def broken(ready: ContenderOf, tmp_path: Path) -> Target:
    """Built for torch, but its record names a runtime that there is not."""
    fine = ready()
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in fine.candidate.iterdir():
        (folder / path.name).symlink_to(path)
    record = folder / "candidate.json"
    fields = json.loads(record.read_text())
    record.unlink()
    fields["configuration"]["runtime"] = "no-such-runtime"
    record.write_text(json.dumps(fields))
    return replace(fine, candidate=folder)


class Until:
    """Enough after some turns; keeps how many timings it was shown."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.shown: list[int] = []
        self.elapsed_s: list[float] = []

    def __call__(self, timings: Sequence[Timing], elapsed_s: float) -> bool:
        self.shown.append(len(timings))
        self.elapsed_s.append(elapsed_s)
        assert len({len(timing.blocks) for timing in timings}) == 1
        return len(timings[0].blocks) >= self.turns


def well(found: TargetResult | EvaluationError) -> TargetResult:
    assert isinstance(found, TargetResult), found
    return found


def test_contenders_take_turns_in_processes_of_their_own(
    lm_setting: EvaluationSettings, isolation: Isolation, ready: ContenderOf, tmp_path: Path
) -> None:
    until = Until(4)
    targets = [ready(), ready(runtime="onnxruntime", batch_size=4)]
    session = take_turns(lm_setting, targets, isolation, tmp_path / "log", until)
    own, other = (well(target_result) for target_result in session.target_results)
    assert len(own.timing.blocks) == len(other.timing.blocks) == 4
    assert until.shown == [2] * 4
    assert until.elapsed_s == sorted(until.elapsed_s)
    assert (own.facts["runtime"], other.facts["runtime"]) == ("torch", "onnxruntime")
    assert (own.timing.items, other.timing.items) == (8, 8)  # the same ones
    assert own.facts["clock"] == own.timing.clock
    assert own.facts["load_s"] > 0 and own.facts["warmup_s"] > 0
    assert session.waited_s == 0.0
    assert 0 <= session.machine["foreign"] <= 1
    assert not any(name.startswith("gpu") for name in session.machine)
    for found in (own, other):
        for name in ("latency_ms", "throughput", "peak_memory_mb", "model_memory_mb"):
            assert found.measurements[name].value > 0
        assert ("energy_per_item" in found.measurements) is energy_is_counted()


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is ever in the way, however busy this machine is."""
    clean = property(lambda timing: np.ones(len(timing.blocks), dtype=bool))
    monkeypatch.setattr(Timing, "clean", clean)


def test_a_first_look_sees_what_the_end_would_and_may_end_it(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    ready: ContenderOf,
    tmp_path: Path,
    undisturbed: None,
) -> None:
    seen: list[InterleavedRun] = []

    def ends_early(session: InterleavedRun) -> bool:
        seen.append(session)
        return True

    targets = [ready(), ready(batch_size=4)]
    log = tmp_path / "log"
    session = take_turns(lm_setting, targets, isolation, log, Until(40), ends_early)
    assert len(seen) == 1
    for first, last in zip(seen[0].target_results, session.target_results, strict=True):
        early, end = well(first), well(last)
        assert len(end.timing.blocks) == len(early.timing.blocks) == INTERIM_TURNS
        assert early.facts.items() <= end.facts.items()
        assert early.facts["load_s"] > 0 and "runtime" not in early.facts
        for name, figure in early.measurements.items():
            if not name.endswith("memory_mb"):
                assert figure == end.measurements[name]
        peak = end.measurements["peak_memory_mb"].value
        assert 0 < early.measurements["peak_memory_mb"].value <= peak


def test_a_first_look_is_taken_once(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    ready: ContenderOf,
    tmp_path: Path,
    undisturbed: None,
) -> None:
    seen: list[InterleavedRun] = []

    def goes_on(session: InterleavedRun) -> bool:
        seen.append(session)
        return False

    until = Until(2 * INTERIM_TURNS)
    session = take_turns(lm_setting, [ready()], isolation, tmp_path / "log", until, goes_on)
    assert len(well(session.target_results[0]).timing.blocks) == 2 * INTERIM_TURNS
    assert len(seen) == 1


def test_a_disturbed_turn_is_no_look(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    ready: ContenderOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disturbed = property(lambda timing: np.zeros(len(timing.blocks), dtype=bool))
    monkeypatch.setattr(Timing, "clean", disturbed)

    def ends_early(session: InterleavedRun) -> bool:
        raise AssertionError(session)

    until = Until(2 * INTERIM_TURNS)
    session = take_turns(lm_setting, [ready()], isolation, tmp_path / "log", until, ends_early)
    assert len(well(session.target_results[0]).timing.blocks) == 2 * INTERIM_TURNS


def test_one_that_fails_leaves_and_the_others_go_on(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    ready: ContenderOf,
    broken: Target,
    tmp_path: Path,
) -> None:
    until = Until(3)
    targets = [ready(), broken, ready(batch_size=2)]
    session = take_turns(lm_setting, targets, isolation, tmp_path / "log", until)
    first, failed, last = session.target_results
    assert len(well(first).timing.blocks) == len(well(last).timing.blocks) == 3
    assert isinstance(failed, EvaluationError)
    assert "no-such-runtime" in str(failed)
    assert until.shown == [2] * 3


def test_where_the_first_one_fails_nothing_goes_on(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    ready: ContenderOf,
    broken: Target,
    tmp_path: Path,
) -> None:
    until = Until(3)
    targets = [broken, ready()]
    session = take_turns(lm_setting, targets, isolation, tmp_path / "log", until)
    assert isinstance(session.target_results[0], EvaluationError)
    assert until.shown == []


def test_one_that_takes_too_long_to_load_is_given_up(
    lm_setting: EvaluationSettings, isolation: Isolation, ready: ContenderOf, tmp_path: Path
) -> None:
    hasty = replace(lm_setting, timeouts=replace(lm_setting.timeouts, measure_s=0.001))
    session = take_turns(hasty, [ready()], isolation, tmp_path / "log", Until(3))
    (failed,) = session.target_results
    assert isinstance(failed, EvaluationError)
    assert str(failed) == "not done after 0.001 s (see `timeouts`)"
    assert failed.cause == "timeout"


@pytest.mark.skipif(CORES < 2, reason="two replicas need two cores")
def test_replicas_run_at_the_same_time_beside_a_single_one(
    lm_setting: EvaluationSettings, isolation: Isolation, ready: ContenderOf, tmp_path: Path
) -> None:
    targets = [ready(replicas=2), ready()]
    session = take_turns(lm_setting, targets, isolation, tmp_path / "log", Until(3))
    pair, single = (well(target_result) for target_result in session.target_results)
    assert [len(turn) for turn in pair.timing.blocks] == [2] * 3
    assert [len(turn) for turn in single.timing.blocks] == [1] * 3
    assert pair.timing.clock == "wall"
    memory = [found.measurements["model_memory_mb"].value for found in (pair, single)]
    assert 1.2 * memory[1] < memory[0]


@pytest.mark.parametrize(
    ("choices", "replicas", "cores", "clocked_by"),
    [
        ({}, 1, 1, 1),
        ({"threads": 2, "replicas": 3}, 3, 2, 2),
        ({"threads": 2, "tensor_parallel": 2}, 1, 4, 4),
        ({"device": "cuda", "threads": 1}, 1, 1, None),
    ],
)
def test_a_contender_knows_what_it_needs(
    choices: dict[str, Value], replicas: int, cores: int, clocked_by: int | None
) -> None:
    made = Target(
        configuration=builtin_catalog().complete(choices), candidate=Path("a"), requests=Path("b")
    )
    assert (made.replicas, made.cores, made.clocked_by) == (replicas, cores, clocked_by)


def test_energy_is_measured_where_a_counter_runs(
    lm_setting: EvaluationSettings,
    isolation: Isolation,
    ready: ContenderOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A made-up counter, which runs between turns and while threads settle, too."""
    seen: list[str] = []
    call = TurnChannel.call

    class Meter:
        available = counts_packages = True

        def __init__(self, **_: object) -> None:
            """Of whatever GPUs."""

        def gpu_joules(self) -> None:
            """There is no GPU."""

        def joules(self) -> float:
            seen.append("read")
            return 3.0 * len(seen)

    def recorded(channel: TurnChannel, places: Any, word: str, *others: Any) -> Any:
        replies = call(channel, places, word, *others)
        seen.append(word.split()[0])
        return replies

    monkeypatch.setattr("tunefront.evaluators.measures.energy.EnergyMeter", Meter)
    monkeypatch.setattr(TurnChannel, "call", recorded)
    session = take_turns(lm_setting, [ready(batch_size=2)], isolation, tmp_path / "log", Until(3))
    found = well(session.target_results[0])
    assert seen == ["warm", *["read", "block", "read", "settle"] * 3]
    # The untimed request at the start of each block uses energy, too.
    items = sum(2 * (turn[0].request_s.size + 1) for turn in found.timing.blocks)
    assert found.measurements["energy_per_item"].value == pytest.approx(3 * 6.0 / items)
