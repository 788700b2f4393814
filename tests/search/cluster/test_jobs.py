"""What a round of turns is told, when it ends, and what it says; nothing is measured here."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefront.evaluators import (
    Evaluation,
    EvaluationSettings,
    InterleavedRun,
    Measurement,
    Protocol,
    Target,
    TargetResult,
    Timing,
    WorkloadSpec,
    builtin_catalog,
)
from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.isolation.cores import Lessee
from tunefront.evaluators.pipelines import inference
from tunefront.evaluators.pipelines.base import RoundSettings
from tunefront.evaluators.statistics.timing import Block
from tunefront.search.cluster import jobs as module
from tunefront.search.cluster.jobs import Job, TurnsJob, run_job, run_turns
from tunefront.spaces import Configuration, EvaluationError

BASELINE, FAST, GONE = (
    builtin_catalog().complete({"runtime": name}) for name in ("torch", "openvino", "onnxruntime")
)


def turns_job(*configurations: Configuration, seconds: float = 9.0) -> TurnsJob:
    """As it arrives in a worker."""
    spec = WorkloadSpec(task="causal-lm", model="m", folder="/nowhere", data="d")
    job = TurnsJob(
        configurations=configurations,
        settings=EvaluationSettings(
            workload=spec, fingerprint="abc", store="/nowhere", protocol=Protocol(turns=4)
        ),
        folder=Path("/nowhere"),
        log=Path("/nowhere/log"),
        lessee=Lessee.this_process("small"),
        wanted=RoundSettings(number=0, seconds=seconds, precision=0.05),
    )
    return from_plain(TurnsJob, json.loads(json.dumps(to_plain(job))))


def timing(*seconds: float) -> Timing:
    blocks = [[Block(request_s=np.full((1, 1), each), cpu_s=each, wait_s=0.0)] for each in seconds]
    return Timing(blocks=blocks, items=3)


class Turns:
    """Stands in for `take_turns`: plays as long as it is not enough, a second a turn."""

    def __init__(self, seconds: Sequence[Sequence[float]], fails: Sequence[int] = ()) -> None:
        self.seconds = seconds
        self.fails = fails
        self.seen: list[Target] = []
        self.turns = 0

    def timings(self) -> list[Timing]:
        return [
            timing(*(each[turn % len(each)] for turn in range(self.turns))) for each in self.seconds
        ]

    def __call__(
        self,
        settings: EvaluationSettings,
        targets: Sequence[Target],
        isolation: object,
        log: Path,
        enough: Any,
    ) -> InterleavedRun:
        self.seen = list(targets)
        while self.turns == 0 or not enough(self.timings(), float(self.turns)):
            self.turns += 1
        target_results: list[TargetResult | EvaluationError] = [
            EvaluationError("it died", cause="crash")
            if place in self.fails
            else TargetResult(
                timing=timing,
                measurements={"peak_memory_mb": Measurement.exact(7.0, "MB")},
                facts={},
            )
            for place, timing in enumerate(self.timings())
        ]
        return InterleavedRun(target_results=target_results, machine={}, waited_s=0.0)


def target(settings: EvaluationSettings, configuration: Configuration, *_: object) -> Target:
    """One that can't be built any more is among them."""
    if configuration == GONE:
        raise EvaluationError("no such kernel", cause="unsupported")
    return Target(configuration=configuration, candidate=Path("c"), requests=Path("r"))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put the stand-in in place."""

    def install(seconds: Sequence[Sequence[float]], fails: Sequence[int] = ()) -> Turns:
        turns = Turns(seconds, fails)
        monkeypatch.setattr(inference, "take_turns", turns)
        monkeypatch.setattr(inference, "target_of", target)
        monkeypatch.setattr(module, "note_stage", lambda *stage: None)  # the folder is no folder
        return turns

    return install


def test_a_round_returns_rates_and_values_of_all_configurations(play: Any) -> None:
    """Three items a pass."""
    play([[0.5], [0.25]])
    base, fast = run_turns(turns_job(BASELINE, FAST))
    assert base is not None
    assert fast is not None
    assert base.rates == pytest.approx([6.0] * 4)
    assert fast.rates == pytest.approx([12.0] * 4)
    assert fast.undisturbed == [True] * 4
    assert fast.values == {"peak_memory_mb": 7.0}


def test_a_worker_completes_configurations(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The space lists only some choices; the others get their defaults."""
    short = Configuration({"threads": 2, "runtime": "openvino"})
    turns = play([[0.5], [0.25]])
    run_turns(turns_job(short, builtin_catalog().complete(short)))
    assert [target.configuration for target in turns.seen] == [
        builtin_catalog().complete(short)
    ] * 2
    evaluated: list[Configuration] = []

    def note(
        settings: EvaluationSettings, configuration: Configuration, *_: object, **__: object
    ) -> Evaluation:
        evaluated.append(configuration)
        return Evaluation(status="ok")

    monkeypatch.setattr(module, "evaluate", note)
    settings = turns_job(short).settings
    lessee = Lessee.this_process("small")
    run_job(
        Job(
            number=3,
            configuration=short,
            settings=settings,
            folder=Path("/nowhere"),
            lessee=lessee,
        )
    )
    assert evaluated == [builtin_catalog().complete(short)]


def test_who_fails_or_can_not_be_built_says_nothing(play: Any) -> None:
    turns = play([[0.5], [0.25]], fails=[1])
    found = run_turns(turns_job(BASELINE, GONE, FAST))
    assert [target.configuration for target in turns.seen] == [BASELINE, FAST]
    assert found[0] is not None
    assert [*found[1:]] == [None, None]


WILD = [0.5, 1.5, 0.6, 1.4, 0.7]


@pytest.mark.parametrize(
    ("seconds", "limit_s", "turns"),
    [
        ([[0.5], [0.2]], 99.0, 4),
        ([[0.5], [0.2]], 0.0, 4),
        ([[0.5], WILD], 20.0, 20),
        ([[0.5], [0.2], WILD], 20.0, 20),
        ([WILD, WILD], 20.0, 4),
    ],
)
def test_a_round_ends_when_every_ratio_is_known_or_the_time_is_up(
    play: Any, seconds: list[list[float]], limit_s: float, turns: int
) -> None:
    """Never before the least number of turns; what both do alike costs no precision."""
    played = play(seconds)
    run_turns(turns_job(*[BASELINE, FAST, FAST][: len(seconds)], seconds=limit_s))
    assert played.turns == turns
