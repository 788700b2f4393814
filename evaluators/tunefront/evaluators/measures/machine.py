"""The machine while something is timed: what others took, and what the process itself used."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

QUIET = 0.10
"""Of the watched cores' time that others may take on a machine that counts as quiet."""
SAMPLE_S = 0.25
"""How long a look at the machine takes: 25 of the kernel's ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """How quiet the machine was.

    Attributes:
        load: Load average of the last minute.
        steal: Share of the watched cores' time that the hypervisor took.
        foreign: Share of their time that went to other processes.
        frequency_mhz: Mean clock of the watched cores; 0 where it can't be read.
        temperature_c: The hottest sensor; 0 where none can be read.
    """

    load: float
    steal: float
    foreign: float
    frequency_mhz: float = 0.0
    temperature_c: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


SETTLED_S = 0.005
"""How long threads must have slept to count as asleep."""
SPIN_S = 0.5
"""How long they are waited for; the longest default of a thread pool is 0.2 s."""


class MachineWatch:
    """Looks at some cores from construction on.

    Args:
        cores: The cores to watch; all where empty.
    """

    def __init__(self, cores: Sequence[int] = ()) -> None:
        self._cores = frozenset(cores)
        self._start = _cpu_ticks(self._cores)

    def state(self, own_cpu_s: float) -> MachineState:
        """The state since construction; shares are 0 where the system doesn't count.

        Args:
            own_cpu_s: CPU seconds of whatever is measured, which are not others'.
        """
        ticks = [now - was for now, was in zip(_cpu_ticks(self._cores), self._start, strict=True)]
        idle, steal = ticks[3] + ticks[4], ticks[7]
        own = own_cpu_s * os.sysconf("SC_CLK_TCK")
        total = sum(ticks)
        return MachineState(
            load=os.getloadavg()[0],
            steal=steal / max(total, 1),
            foreign=max(0.0, total - idle - steal - own) / max(total, 1),
            frequency_mhz=_frequency_mhz(self._cores),
            temperature_c=_temperature_c(),
        )


def wait_until_quiet(cores: Sequence[int], limit_s: float) -> float:
    """Sleep while others keep the cores busy, for `limit_s` seconds at the most.

    Returns:
        Seconds waited; a machine that is quiet costs one look.
    """
    start = time.monotonic()
    while True:
        watch = MachineWatch(cores)
        time.sleep(min(SAMPLE_S, max(limit_s, 0.0)))
        state = watch.state(0.0)
        waited = time.monotonic() - start
        if state.foreign + state.steal <= QUIET or waited >= limit_s:
            return waited


class OwnWatch:
    """CPU time of this process and its children, and the time their threads waited for a core."""

    def __init__(self) -> None:
        import psutil

        self._children = [child.pid for child in psutil.Process().children(recursive=True)]
        self.start()

    def start(self) -> None:
        """Count from here."""
        self._before = self._now()

    def stop(self) -> tuple[float, float]:
        """CPU seconds and waiting seconds since `start`."""
        cpu_s, wait_s = self._now()
        return cpu_s - self._before[0], wait_s - self._before[1]

    def settle(self, limit_s: float = SPIN_S) -> None:
        """Wait until the threads of this process and its children sleep.

        Thread pools spin for a while after their work, in case there is more: the next one's turn
        would have to share the cores with them.
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
        """CPU and waiting seconds so far.

        The kernel's schedstat counts waiting exactly, but the time of a thread that runs only at
        every tick (4 ms here): of this process the CPU clock is read instead.
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
    """User, nice, system, idle, iowait, irq, softirq, steal of these cores, or of all."""
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


def _frequency_mhz(cores: frozenset[int]) -> float:
    """The mean of what the kernel says of the cores (cpufreq, else /proc/cpuinfo)."""
    found: list[float] = []
    for core in sorted(cores) or range(os.cpu_count() or 1):
        path = Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
        if path.exists():
            found.append(int(path.read_text()) / 1000)
    if not found and Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return sum(found) / len(found) if found else 0.0


def _temperature_c() -> float:
    found = [0.0]
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            found.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found)
