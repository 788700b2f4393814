"""State of the GPUs while a candidate's turns run: clock, heat, other processes."""

import os
import time
from collections.abc import Mapping, Sequence
from statistics import median

from tunefront.evaluators.statistics.timing import Block
from tunefront.spaces import Configuration, Hardware

from .base import Measure, Reading
from .gpu import GpuConditions, Gpus, gpu_obstacle, gpus_of
from .processes import with_descendants

CLOCK, TEMPERATURE = "gpu_clock_mhz", "gpu_temperature_c"
POWER, HEAT = "gpu_power_throttled", "gpu_heat_throttled"
PROCESSES, FOREIGN = "gpu_processes", "gpu_foreign"


class GpuState(Measure):
    """State of a candidate's GPUs around its turns.

    * `gpu_clock_mhz`: median over the turns of the slowest GPU's clock, read right after each, when
      it has not fallen yet.
    * `gpu_temperature_c`: the highest.
    * `gpu_power_throttled`, `gpu_heat_throttled`: share of the turns' time for which the driver
      held the clock down, by its counters; without these the share of turns at whose end it did.
    * `gpu_processes`: most processes of others on one of them at the end of a turn.
    * `gpu_foreign`: share of the GPU that others used, mean over the turns. A turn in which it is
      large counts as disturbed, like one on cores that others use.

    Values that the driver does not have are left out.
    """

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        """Return why no state of GPUs is read: no GPU, or none is used."""
        return gpu_obstacle(hardware, configuration)

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        """Begin a reading; it reads before and after every turn."""
        return _GpuStateReading(processes)


class _GpuStateReading(Reading):
    def __init__(self, processes: Sequence[int]) -> None:
        self._gpus: Gpus = gpus_of(processes)
        self._processes = list(processes)
        self._turns: list[GpuConditions] = []
        self._foreign: list[float] = []
        self._span_s = self._start_s = 0.0
        self._since_us = 0
        self._before: GpuConditions | None = None
        self._reduced_s: dict[str, float] = {}

    def watch(self, processes: Sequence[int]) -> None:
        """Read the GPUs of these processes, too; they are the candidate's."""
        self._processes += processes
        self._gpus = gpus_of(self._processes)

    def before_block(self) -> None:
        """Read the counters."""
        self._since_us, self._start_s = time.time_ns() // 1000, time.perf_counter()
        self._before = self._gpus.conditions(()) if len(self._gpus) else None

    def after_block(self, blocks: Sequence[Block]) -> None:
        """Read the conditions at the end of the turn, and what changed in it."""
        if self._before is None:
            return
        own = self._own()
        now = self._gpus.conditions(own)
        span_s = time.perf_counter() - self._start_s
        self._span_s += span_s
        for name, before, after, reduced in (
            (POWER, self._before.power_ns, now.power_ns, now.power_now),
            (HEAT, self._before.heat_ns, now.heat_ns, now.heat_now),
        ):
            if before is not None and after is not None:
                seconds = (after - before) / 1e9
            elif reduced is not None:
                seconds = span_s * reduced
            else:
                continue
            self._reduced_s[name] = self._reduced_s.get(name, 0.0) + seconds
        self._foreign.append(self._gpus.foreign_share(own, self._since_us))
        self._turns.append(now)

    def foreign(self) -> float:
        """Return the share of the GPUs that others used in the last turn."""
        return self._foreign[-1] if self._foreign else 0.0

    def state(self) -> Mapping[str, float]:
        """Return the state in the turns so far; empty before the first."""
        if not self._turns:
            return {}
        clocks = [one.clock_mhz for one in self._turns if one.clock_mhz is not None]
        heats = [one.temperature_c for one in self._turns if one.temperature_c is not None]
        others = [one.processes for one in self._turns if one.processes is not None]
        found = {name: reduced / self._span_s for name, reduced in self._reduced_s.items()}
        if clocks:
            found[CLOCK] = float(median(clocks))
        if heats:
            found[TEMPERATURE] = max(heats)
        if others:
            found[PROCESSES] = float(max(others))
        found[FOREIGN] = sum(self._foreign) / len(self._foreign)
        return found

    def _own(self) -> set[int]:
        """Return all processes of this benchmark: those that this process has started.

        Other candidates of the benchmark have contexts, too, and are idle.
        """
        return {
            pid for process in (os.getpid(), *self._processes) for pid in with_descendants(process)
        }
