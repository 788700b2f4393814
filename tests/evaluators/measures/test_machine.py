"""The machine: shares of its time from made-up counters, waiting, and a process's own time."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunefront.evaluators.isolation.codec import to_plain
from tunefront.evaluators.measures import machine
from tunefront.evaluators.measures.machine import (
    SAMPLE_S,
    MachineLoad,
    MachineState,
    MachineWatch,
    ProcessWatch,
    wait_until_quiet,
)

TICKS = os.sysconf("SC_CLK_TCK")


class Counters:
    """Ticks of user, nice, system, idle, iowait, irq, softirq and steal, as somebody adds them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = [1000] * 8
        self.asked: list[frozenset[int]] = []
        monkeypatch.setattr(machine, "_cpu_ticks", self.read)
        monkeypatch.setattr(machine, "_other_hyperthreads", lambda cores: frozenset())

    def read(self, cores: frozenset[int]) -> list[int]:
        self.asked.append(cores)
        return list(self.now)

    def add(self, **ticks: int) -> None:
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        self.now = [was + ticks.get(name, 0) for was, name in zip(self.now, names, strict=True)]


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    return Counters(monkeypatch)


def test_the_machine_s_state_is_shares() -> None:
    watch = MachineWatch()
    sum(range(10**6))
    state = watch.state(0.0)
    assert 0 <= state.steal <= 1
    assert 0 <= state.foreign <= 1
    assert state.load >= 0
    assert state.frequency_mhz is None or state.frequency_mhz > 0
    assert state.temperature_c is None or state.temperature_c > 0
    fields = {"load", "steal", "foreign", "frequency_mhz", "temperature_c"}
    assert set(to_plain(state)) == fields
    assert MachineState(**to_plain(state)) == state


def test_what_is_measured_is_not_others(counters: Counters) -> None:
    """Of 1,000 ticks 300 were our own, 100 another's, 50 the hypervisor's, the rest nobody's."""
    watch = MachineWatch([3, 1])
    counters.add(user=350, system=50, idle=500, iowait=50, steal=50)
    state = watch.state(300 / TICKS)
    assert state.foreign == pytest.approx(0.1)
    assert state.steal == pytest.approx(0.05)
    assert counters.asked == [frozenset({1, 3})] * 2


def test_work_on_the_other_hyperthreads_is_foreign(
    counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The made-up counters are the same for both CPUs: 300 own and 100 foreign ticks, 400 beside.

    The share is of the time of the watched core, not of both CPUs.
    """
    monkeypatch.setattr(machine, "_other_hyperthreads", lambda cores: frozenset({4}))
    watch = MachineWatch([0])
    counters.add(user=400, idle=600)
    assert watch.state(300 / TICKS).foreign == pytest.approx(0.5)
    assert counters.asked == [frozenset({0}), frozenset({4})] * 2
    counters.add(user=1000)
    assert watch.state(0.0).foreign == 1.0


def test_own_time_beyond_the_count_leaves_nothing_to_others(counters: Counters) -> None:
    watch = MachineWatch()
    counters.add(user=100, idle=100)
    assert watch.state(105 / TICKS).foreign == 0.0


def test_a_system_that_does_not_count_says_nothing(counters: Counters) -> None:
    state = MachineWatch().state(0.0)
    assert (state.foreign, state.steal) == (0.0, 0.0)


def test_the_ticks_of_some_cores_are_the_sum_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["cpu  9 9 9 9 9 9 9 9 0 0"]
    lines += [f"cpu{core} {' '.join([str(10**core)] * 8)} 5 5" for core in range(4)]
    (tmp_path / "stat").write_text("\n".join([*lines, "intr 5 5 5"]) + "\n")
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / Path(path).name)
    assert machine._cpu_ticks(frozenset({0, 2})) == [101] * 8
    assert machine._cpu_ticks(frozenset()) == [9] * 8
    (tmp_path / "stat").unlink()
    assert machine._cpu_ticks(frozenset()) == [0] * 8


@pytest.mark.parametrize(("sensors", "expected"), [([], None), ([0], None), ([0, 41500], 41.5)])
def test_a_temperature_without_a_sensor_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sensors: list[int], expected: float | None
) -> None:
    for number, value in enumerate(sensors):
        (tmp_path / "thermal" / f"thermal_zone{number}").mkdir(parents=True)
        (tmp_path / "thermal" / f"thermal_zone{number}" / "temp").write_text(f"{value}\n")
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / Path(path).name)
    reading = MachineLoad().start([], [])
    state = reading.state()
    assert state.get("temperature_c") == expected
    assert ("temperature_c" in state) is (expected is not None)
    assert None not in state.values()


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Time that passes only in sleep; what was slept."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
    yield slept
    monkeypatch.undo()


class Busy(Counters):
    """Others take the cores for some looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks: int, kind: str) -> None:
        super().__init__(monkeypatch)
        self.busy = 2 * looks
        self.kind = kind

    def read(self, cores: frozenset[int]) -> list[int]:
        self.add(**{self.kind if len(self.asked) < self.busy else "idle": 25})
        return super().read(cores)


def test_a_quiet_machine_costs_one_look(
    monkeypatch: pytest.MonkeyPatch, sleeps: list[float]
) -> None:
    Busy(monkeypatch, 0, "user")
    assert wait_until_quiet([0], 60.0) == SAMPLE_S
    assert sleeps == [SAMPLE_S]


@pytest.mark.parametrize("kind", ["user", "steal"])
def test_a_busy_machine_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, sleeps: list[float], kind: str
) -> None:
    Busy(monkeypatch, 3, kind)
    assert wait_until_quiet([0], 60.0) == 4 * SAMPLE_S


@pytest.mark.parametrize(("limit_s", "waited"), [(1.0, 1.0), (0.1, 0.1), (0.0, 0.0), (-1.0, 0.0)])
def test_nobody_is_waited_for_beyond_the_limit(
    monkeypatch: pytest.MonkeyPatch, sleeps: list[float], limit_s: float, waited: float
) -> None:
    Busy(monkeypatch, 10**6, "user")
    assert wait_until_quiet([0], limit_s) == pytest.approx(waited)


def spin(cpu_s: float) -> None:
    start = time.thread_time()
    while time.thread_time() - start < cpu_s:
        pass


def test_own_time_is_cpu_time_of_all_threads() -> None:
    """Two threads spend 0.2 s of CPU time each; sleeping costs nothing, whoever else runs."""
    watch = ProcessWatch()
    watch.start()
    threads = [threading.Thread(target=spin, args=(0.2,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    busy_s, wait_s = watch.stop()
    assert 0.39 < busy_s < 1.0
    assert wait_s >= 0
    watch.start()
    time.sleep(0.3)
    assert watch.stop()[0] < 0.15


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this kernel keeps no schedstat"
)
def test_children_that_are_there_at_the_start_count() -> None:
    program = """
import time
input()
start = time.process_time()
while time.process_time() - start < 0.3:
    pass
print("done", flush=True)
input()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    watch = ProcessWatch()
    watch.start()
    child.stdin.write("\n")
    child.stdin.flush()
    child.stdout.readline()
    cpu_s, _ = watch.stop()
    child.communicate("\n")
    assert cpu_s > 0.25
    # One that has ended since counts no more, and is no error.
    assert watch.stop()[0] < cpu_s


def test_settling_waits_until_threads_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU time that grows is somebody who still spins."""
    slept: list[float] = []
    monkeypatch.setattr("tunefront.evaluators.measures.machine.time.sleep", slept.append)
    watch = ProcessWatch()
    readings = iter([(1.0, 0.0), (1.005, 0.0), (1.009, 0.0), (1.0092, 0.0), (2.0, 0.0)])
    monkeypatch.setattr(watch, "_now", lambda: next(readings))
    watch.settle(limit_s=60.0)
    assert len(slept) == 3


def test_settling_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = ProcessWatch()
    spent = itertools.count()
    monkeypatch.setattr(watch, "_now", lambda: (float(next(spent)), 0.0))
    watch.settle(limit_s=0.02)
    assert next(spent) > 1
