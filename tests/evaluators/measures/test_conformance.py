"""What holds for every measure: the built-in ones, and a user's in a file outside the source tree.

Add a measure to `MEASURES` to test it.
"""

import importlib
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.extensions.toy_measure.toy_measure import PageFaults

from tunefront.evaluators import (
    BUILTIN_MEASURES,
    Measure,
    Reading,
    Timing,
    builtin_catalog,
    measured_metrics,
)
from tunefront.evaluators.measures import energy
from tunefront.evaluators.measures.processes import with_descendants
from tunefront.evaluators.statistics.timing import Block
from tunefront.spaces import Gpu, detect_hardware

MEASURES: Sequence[Measure] = (*BUILTIN_MEASURES, PageFaults())
CONFIGURATION = builtin_catalog().complete({"runtime": "torch", "threads": 1, "batch_size": 1})
MACHINES = [
    replace(detect_hardware(), gpus=gpus)
    for gpus in ((), (Gpu(name="Made-up", memory_mb=1000, capability=(9, 0)),))
]
WORKER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
kept = []
for line in sys.stdin:
    kept.append(bytearray(16 * 2**20))
    print(sum(range(100_000)), flush=True)
child.communicate(b"\\n")
"""
"""A process with a child that allocates memory and computes once for each line it reads."""

Worker = Callable[[], Any]


@pytest.fixture(params=MEASURES, ids=lambda measure: type(measure).__name__)
def measure(request: pytest.FixtureRequest) -> Measure:
    found: Measure = request.param
    return found


@pytest.fixture(autouse=True)
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An energy counter on every machine."""
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "energy_uj").write_text("1000000\n")
    monkeypatch.setattr(energy.EnergyMeter.__init__, "__defaults__", (tmp_path,))


@pytest.fixture
def workers() -> Iterator[list["subprocess.Popen[str]"]]:
    """Two processes that work on request, like the replicas of a candidate."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    yield started
    for process in started:
        process.communicate()


def work(workers: Sequence["subprocess.Popen[str]"]) -> None:
    for process in workers:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline()


def take_reports(measure: Measure, reading: Reading, processes: int) -> None:
    if measure.inside:
        module, _, function = measure.inside.partition(":")
        reported = getattr(importlib.import_module(module), function)()
        assert all(math.isfinite(float(value)) for value in reported.values())
        reading.take_reports([reported] * processes)


def run_turns(
    measure: Measure, reading: Reading, workers: Sequence["subprocess.Popen[str]"], turns: int
) -> Timing:
    """Let the workers work in turns that the reading is told of; the timing is made up."""
    block = Block(request_s=np.full((2, 3), 0.01), cpu_s=0.06, wait_s=0.0, untimed=1)
    for _ in range(turns):
        reading.before_block()
        work(workers)
        reading.after_block([block] * len(workers))
    take_reports(measure, reading, len(workers))
    return Timing(blocks=[[block] * len(workers)] * turns, items=6)


def started(measure: Measure, workers: Sequence["subprocess.Popen[str]"]) -> Reading:
    if reason := measure.obstacle(detect_hardware(), CONFIGURATION):
        pytest.skip(f"not here: {reason}")
    return measure.start([process.pid for process in workers], [])


def test_metrics_describe_themselves(measure: Measure) -> None:
    for metric in measure.metrics:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
        assert metric.summary and not metric.summary.endswith(".")
        assert metric.kind in ("speed", "memory", "energy", "training")
        assert not metric.reference_rate, "the interface measures what speed-ups are taken of"


def test_names_of_metrics_are_its_own(measure: Measure) -> None:
    others = measured_metrics([one for one in MEASURES if one is not measure])
    assert not others.keys() & {metric.name for metric in measure.metrics}
    assert len({metric.name for metric in measure.metrics}) == len(measure.metrics)


def test_a_measure_of_the_machine_has_no_metrics(measure: Measure) -> None:
    assert measure.scope in ("candidate", "machine")
    assert not (measure.metrics and measure.scope == "machine")
    assert measure.block_s(CONFIGURATION) >= 0.0


def test_an_obstacle_is_a_reason_and_that_of_a_machine_holds_for_all(measure: Measure) -> None:
    for machine in MACHINES:
        general = measure.obstacle(machine, None)
        own = measure.obstacle(machine, CONFIGURATION)
        for reason in (general, own):
            assert reason is None or (reason.strip() == reason and not reason.endswith("."))
            assert reason != ""
        assert general is None or own is not None
        assert measure.obstacle(machine, CONFIGURATION) == own


def test_it_reports_measurements_of_its_metrics(
    measure: Measure, workers: list["subprocess.Popen[str]"]
) -> None:
    reading = started(measure, workers)
    timing = run_turns(measure, reading, workers, 3)
    found = reading.measurements(timing)
    metrics = {metric.name: metric for metric in measure.metrics}
    assert found.keys() <= metrics.keys()
    assert bool(found) is bool(metrics)
    for name, figure in found.items():
        assert figure.unit == metrics[name].unit
        assert math.isfinite(figure.low) and math.isfinite(figure.high)
        assert figure.low <= figure.value <= figure.high
        assert figure.samples >= 1
    assert reading.measurements(timing).keys() == found.keys()
    assert all(math.isfinite(value) for value in reading.state().values())
    assert bool(reading.state()) is not bool(metrics)
    assert reading.foreign() == 0.0


def test_readings_are_independent(measure: Measure, workers: list["subprocess.Popen[str]"]) -> None:
    before = dict(vars(measure))
    one, other = started(measure, workers[:1]), started(measure, workers[1:])
    timing = run_turns(measure, one, workers[:1], 1)
    take_reports(measure, other, 1)
    assert one.measurements(timing).keys() >= other.measurements(timing).keys()
    assert vars(measure) == before


def test_the_processes_go_on_and_belong_to_themselves(
    measure: Measure, workers: list["subprocess.Popen[str]"]
) -> None:
    reading = started(measure, workers)
    reading.measurements(run_turns(measure, reading, workers, 1))
    work(workers)
    assert all(len(with_descendants(process.pid)) == 2 for process in workers)


def test_a_process_that_has_ended_is_no_error(
    measure: Measure, workers: list["subprocess.Popen[str]"]
) -> None:
    reading = started(measure, workers)
    timing = run_turns(measure, reading, workers, 1)
    for process in workers:
        process.communicate()
    for figure in reading.measurements(timing).values():
        assert math.isfinite(figure.value)
    assert all(math.isfinite(value) for value in reading.state().values())
