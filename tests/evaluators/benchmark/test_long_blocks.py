"""Blocks that a measure needs longer than those of the turns, with real processes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tunefront.evaluators import (
    EvaluationSettings,
    Isolation,
    Measure,
    Measurement,
    Metric,
    Reading,
    TargetResult,
    Timing,
    builtin_catalog,
    take_turns,
    target_of,
)
from tunefront.evaluators.measures.base import LONG_BLOCKS
from tunefront.evaluators.statistics.timing import Block
from tunefront.spaces import Configuration, Hardware

SECONDS = 0.05


class LongReading(Reading):
    """Keeps the order of what it is called for, and how long its blocks take."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.seconds: list[float] = []
        self._start_s = 0.0

    def before_work(self) -> None:
        self.calls.append("before work")

    def after_work(self) -> None:
        self.calls.append("after work")

    def before_block(self) -> None:
        self.calls.append("before block")
        self._start_s = time.perf_counter()

    def after_block(self, blocks: Sequence[Block]) -> None:
        self.seconds.append(time.perf_counter() - self._start_s)
        self.calls.append("after block")

    def foreign(self) -> float:
        return 0.5

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        return {}


class Long(Measure):
    """Needs blocks of `SECONDS`, or none of its own."""

    metrics = (Metric(name="long", unit="", direction="minimize", summary="none", kind="energy"),)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.readings: list[LongReading] = []

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> None:
        return None

    def block_s(self, configuration: Configuration) -> float:
        return self.seconds

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        self.readings.append(LongReading())
        return self.readings[-1]


def test_a_measure_gets_its_blocks_after_the_warm_up_and_others_the_turns(
    lm_setting: EvaluationSettings, isolation: Isolation, tmp_path: Path
) -> None:
    """A target that is only compared with has none; what others used disturbs its turns."""
    chosen = builtin_catalog().complete({"runtime": "torch", "threads": 1, "batch_size": 1})
    own = target_of(lm_setting, chosen, isolation, tmp_path / "log")
    targets = [own, replace(own, compared_only=True)]
    measures = long, short = Long(SECONDS), Long(0.0)

    def enough(timings: Sequence[Timing], elapsed_s: float) -> bool:
        return len(timings[0].blocks) == 2

    run = take_turns(lm_setting, targets, isolation, tmp_path / "log", enough, measures=measures)
    work = ["before work", "after work"] * 2  # loading, warm-up
    block = ["before block", "after block"]
    assert [one.calls for one in long.readings] == [work + block * LONG_BLOCKS, work]
    assert [one.calls for one in short.readings] == [work + block * 2] * 2
    assert all(seconds >= SECONDS for seconds in long.readings[0].seconds)
    for found in run.target_results:
        assert isinstance(found, TargetResult)
        assert [turn[0].foreign for turn in found.timing.blocks] == [0.5, 0.5]
        assert not found.timing.clean.any()
