"""The machine's state over a stretch of time: load, steal, and what other processes took."""

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """How quiet the machine was.

    Attributes:
        load: Load average of the last minute.
        steal: Share of CPU time that the hypervisor took.
        foreign: Share of all cores' time that went to other processes.
    """

    load: float
    steal: float
    foreign: float

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


class MachineWatch:
    """From construction to `state`."""

    def __init__(self) -> None:
        self._start = _cpu_ticks()
        self._own = time.process_time()

    def state(self) -> MachineState:
        """The state since construction; shares are 0 where the system doesn't count."""
        ticks = [now - then for now, then in zip(_cpu_ticks(), self._start, strict=True)]
        total = max(sum(ticks), 1)
        idle, steal = ticks[3] + ticks[4], ticks[7]
        own = (time.process_time() - self._own) * os.sysconf("SC_CLK_TCK")
        return MachineState(
            load=os.getloadavg()[0],
            steal=steal / total,
            foreign=max(0.0, total - idle - steal - own) / total,
        )


def _cpu_ticks() -> list[int]:
    """User, nice, system, idle, iowait, irq, softirq, steal of all cores."""
    source = Path("/proc/stat")
    if not source.exists():
        return [0] * 8
    return [int(field) for field in source.read_text().split("\n", 1)[0].split()[1:9]]
