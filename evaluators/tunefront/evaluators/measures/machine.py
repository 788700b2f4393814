"""State of the machine during timing: CPU time of other processes and of the timed process."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tunefront.evaluators.isolation.codec import to_plain
from tunefront.spaces import Configuration, Hardware
from tunefront.spaces.machine.topology import siblings

from .base import Measure, MeasureScope, Reading
from .processes import cpu_seconds, with_descendants

QUIET = 0.10
"""Largest share of the watched cores' time used by other processes on a quiet machine."""
SAMPLE_S = 0.25
"""Seconds over which the load of the cores is sampled: 25 ticks of /proc/stat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """Load and clock of the machine during a measurement.

    Attributes:
        load: Load average of the last minute.
        steal: Share of the watched cores' time that the hypervisor took.
        foreign: Share of their time that other processes used.
        frequency_mhz: Mean clock frequency of the watched cores; None if it can't be read.
        temperature_c: Temperature of the hottest sensor in °C; None if none can be read.
    """

    load: float
    steal: float
    foreign: float
    frequency_mhz: float | None = None
    temperature_c: float | None = None


SETTLED_S = 0.005
"""Seconds over which CPU use is sampled; threads count as asleep if it is below 20 %."""
SPIN_S = 0.5
"""Longest wait in seconds for threads to sleep; thread pools spin for at most 0.2 s by default."""


class MachineWatch:
    """CPU time of some cores since construction.

    Args:
        cores: The cores to watch; all if empty. Work on the other hyperthreads of these cores
            counts as foreign: it slows them as well.
    """

    def __init__(self, cores: Sequence[int] = ()) -> None:
        self._cores = frozenset(cores)
        self._siblings = _other_hyperthreads(self._cores)
        self._start = _cpu_ticks(self._cores)
        self._siblings_start = self._sibling_ticks()

    def state(self, own_cpu_s: float) -> MachineState:
        """Return the state since construction; the shares are 0 if there is no /proc/stat.

        Args:
            own_cpu_s: CPU seconds of the measured processes, which do not count as foreign.
        """
        ticks = [now - was for now, was in zip(_cpu_ticks(self._cores), self._start, strict=True)]
        idle, steal = ticks[3] + ticks[4], ticks[7]
        own = own_cpu_s * os.sysconf("SC_CLK_TCK")
        total = sum(ticks)
        beside = self._sibling_ticks() - self._siblings_start
        return MachineState(
            load=os.getloadavg()[0],
            steal=steal / max(total, 1),
            foreign=min(1.0, max(0.0, total - idle - steal - own + beside) / max(total, 1)),
            frequency_mhz=_frequency_mhz(self._cores),
            temperature_c=_temperature_c(),
        )

    def _sibling_ticks(self) -> int:
        """Return the ticks that the other hyperthreads of the cores were busy; 0 without any."""
        if not self._siblings:
            return 0
        ticks = _cpu_ticks(self._siblings)
        return sum(ticks) - ticks[3] - ticks[4]


def _other_hyperthreads(cores: frozenset[int]) -> frozenset[int]:
    """Return the CPUs that share a physical core with some of the given ones, without these."""
    return frozenset(cpu for core in cores for cpu in siblings(core)) - cores


class MachineLoad(Measure):
    """Load and clock of the machine while candidates take turns: the values of `MachineState`."""

    scope: ClassVar[MeasureScope] = "machine"

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        """Return None: values that the system does not offer are left out, shares are 0."""
        return None

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        """Begin a reading; CPU time of the processes and their descendants is not foreign."""
        return _MachineReading(processes, cores)


class _MachineReading(Reading):
    def __init__(self, processes: Sequence[int], cores: Sequence[int]) -> None:
        self._processes = processes
        self._before_s = self._own_s()
        self._watch = MachineWatch(cores)

    def state(self) -> Mapping[str, float]:
        """Return the state since the start, without values that can't be read."""
        state = to_plain(self._watch.state(max(0.0, self._own_s() - self._before_s)))
        return {name: value for name, value in state.items() if value is not None}

    def _own_s(self) -> float:
        trees = [with_descendants(pid) for pid in self._processes]
        return sum(cpu_seconds(pid) for tree in trees for pid in tree)


def wait_until_quiet(cores: Sequence[int], limit_s: float) -> float:
    """Wait while other processes keep the cores busy, at most `limit_s` seconds.

    Returns:
        Seconds waited; on a quiet machine one sample of `SAMPLE_S`.
    """
    start = time.monotonic()
    while True:
        watch = MachineWatch(cores)
        time.sleep(min(SAMPLE_S, max(limit_s, 0.0)))
        state = watch.state(0.0)
        waited = time.monotonic() - start
        if state.foreign + state.steal <= QUIET or waited >= limit_s:
            return waited


class ProcessWatch:
    """CPU time of this process and its children, and the time their threads waited for a core.

    The children are those that exist at construction.

    Args:
        others: Further processes to watch, with their children, such as an engine's.
    """

    def __init__(self, others: Sequence[int] = ()) -> None:
        own = with_descendants(os.getpid())
        further = [pid for other in others for pid in with_descendants(other)]
        self._children = list(dict.fromkeys(pid for pid in (*own, *further) if pid != own[0]))
        self.start()

    def start(self) -> None:
        """Start counting."""
        self._before = self._now()

    def stop(self) -> tuple[float, float]:
        """Return CPU seconds and core-waiting seconds since `start`."""
        cpu_s, wait_s = self._now()
        return cpu_s - self._before[0], wait_s - self._before[1]

    def settle(self, limit_s: float = SPIN_S) -> None:
        """Wait until the threads of this process and its children sleep, at most `limit_s` seconds.

        Thread pools spin for a while after their work; during the next candidate's turn they would
        still use the cores.
        """
        deadline = time.monotonic() + limit_s
        before = self._now()[0]
        while time.monotonic() < deadline:
            time.sleep(SETTLED_S)
            now = self._now()[0]
            if now - before < 0.2 * SETTLED_S:
                return
            before = now

    def _now(self) -> tuple[float, float]:
        """Return CPU seconds and core-waiting seconds so far.

        Waiting time in schedstat is exact, but the CPU time of a running thread is updated only at
        each tick (measured: 4 ms). For this process the CPU clock is read instead.
        """
        own = [_schedstat(path) for path in _tasks(os.getpid())]
        children = [_schedstat(path) for pid in self._children for path in _tasks(pid)]
        waited = sum(waited for _, waited in (*own, *children))
        return time.process_time() + sum(ran for ran, _ in children) / 1e9, waited / 1e9


def _tasks(pid: int) -> Iterable[str]:
    try:
        return [f"/proc/{pid}/task/{task}/schedstat" for task in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def _schedstat(path: str) -> tuple[int, int]:
    try:
        ran, waited, _ = Path(path).read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    return int(ran), int(waited)


def _cpu_ticks(cores: frozenset[int]) -> list[int]:
    """Return the ticks of the given cores, or of all.

    In order: user, nice, system, idle, iowait, irq, softirq, steal.
    """
    source = Path("/proc/stat")
    if not source.exists():
        return [0] * 8
    totals = [0] * 8
    wanted = {f"cpu{core}" for core in cores} or {"cpu"}
    for line in source.read_text().splitlines():
        name, *fields = line.split()
        if name in wanted:
            totals = [t + int(f) for t, f in zip(totals, fields[:8], strict=True)]
    return totals


def busy_seconds() -> float:
    """Return the CPU seconds that all processes have used on all cores; 0 without /proc/stat.

    The resolution is one tick of each core, usually 10 ms.
    """
    ticks = _cpu_ticks(frozenset())
    return (sum(ticks) - ticks[3] - ticks[4] - ticks[7]) / os.sysconf("SC_CLK_TCK")


def _frequency_mhz(cores: frozenset[int]) -> float | None:
    """Return the cores' mean clock in MHz from cpufreq, else of all cores from /proc/cpuinfo."""
    found: list[float] = []
    for core in sorted(cores) or range(os.cpu_count() or 1):
        path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        if path.exists():
            found.append(int(path.read_text()) / 1000)
    if not found and Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return sum(found) / len(found) if found else None


def _temperature_c() -> float | None:
    found: list[float] = []
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            found.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    # Virtual machines have sensors that read 0.
    return max((celsius for celsius in found if celsius > 0), default=None)
