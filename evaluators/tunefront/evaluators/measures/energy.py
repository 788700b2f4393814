"""Energy from hardware counters, where present: RAPL (Intel, AMD) and NVIDIA's energy counter."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tunefront.evaluators.statistics.formatting import percent_text
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.evaluators.statistics.timing import Block, Timing
from tunefront.spaces import Configuration, Hardware
from tunefront.spaces.metric import Metric

from .base import Measure, Reading
from .gpu import Gpus, gpus_of, runs_on_gpu
from .machine import busy_seconds
from .processes import cpu_seconds, with_descendants

ENERGY_PER_ITEM = Metric(
    name="energy_per_item",
    unit="J",
    direction="minimize",
    summary="energy of the machine's packages and of the candidate's GPUs, an item",
    kind="energy",
)

RAPL = Path("/sys/class/powercap")
MICRO = 1e-6
MOST_FOREIGN = 0.10
"""Largest share of other processes in the CPU time of the turns that raises no warning."""
GPU_BLOCK_S = 5.0
"""Seconds of a block on GPUs.

Their counters change some 10 times a second, and some GPUs read their power only a quarter of the
time (arXiv 2312.02741).
"""


class EnergyMeter:
    """Cumulative energy counters of CPU packages and GPUs.

    Only differences of two readings are meaningful.

    Args:
        folder: The folder in which the kernel exposes its RAPL zones.
        gpus: The GPUs that count; those that are visible to this process if None.
    """

    def __init__(self, folder: Path = RAPL, *, gpus: Gpus | None = None) -> None:
        self._zones = _readable_zones(folder)
        self._gpus = Gpus() if gpus is None else gpus
        self._last = [_read(zone / "energy_uj") for zone in self._zones]
        self._turned = [0] * len(self._zones)

    @property
    def available(self) -> bool:
        """Whether there is a counter that can be read."""
        return self.counts_packages or self._gpus.joules() is not None

    @property
    def counts_packages(self) -> bool:
        """Whether a CPU package has a counter that can be read."""
        return bool(self._zones)

    def gpu_joules(self) -> float | None:
        """Return the sum of the GPUs' counters in joules; None without a counter."""
        return self._gpus.joules()

    def joules(self) -> float | None:
        """Return the sum of the counters in joules; None without a counter.

        Overflow is corrected if each counter overflows at most once between two calls.
        """
        total = 0.0
        for index, zone in enumerate(self._zones):
            now = _read(zone / "energy_uj")
            if now < self._last[index]:
                self._turned[index] += _read(zone / "max_energy_range_uj")
            self._last[index] = now
            total += (now + self._turned[index]) * MICRO
        gpus = self._gpus.joules()
        return total + (gpus or 0.0) if self._zones or gpus is not None else None


def energy_is_counted() -> bool:
    """Return whether this machine has an energy counter that this user can read."""
    return EnergyMeter().available


class Energy(Measure):
    """Energy of the machine's packages and of the candidate's GPUs during the candidate's turns.

    A candidate on GPUs has `LONG_BLOCKS` of `GPU_BLOCK_S` for it. The packages count there as long
    as others use little CPU time in them; otherwise only the GPUs do, and there is a warning.

    A turn's energy is that from before its first request, which is not timed, to after its last
    one; all these requests count as items. What threads use when they spin after the last request
    is left out. The counters are the machine's: where other processes, such as other trials, used
    the machine in these turns, a warning states their share of the CPU time, and the lower end of
    the interval leaves it out.
    """

    metrics = (ENERGY_PER_ITEM,)

    def obstacle(self, hardware: Hardware, configuration: Configuration | None) -> str | None:
        """Return why no energy is measured: this machine has no readable counter."""
        if not energy_is_counted():
            return "this machine has no energy counter that this user may read (RAPL, NVML)"
        on_cpu = configuration is not None and not runs_on_gpu(configuration)
        if on_cpu and not EnergyMeter().counts_packages:
            return "no CPU package has an energy counter that this user may read (RAPL)"
        return None

    def block_s(self, configuration: Configuration) -> float:
        """Return `GPU_BLOCK_S` on GPUs; on processors turns suffice."""
        return GPU_BLOCK_S if runs_on_gpu(configuration) else 0.0

    def start(self, processes: Sequence[int], cores: Sequence[int]) -> Reading:
        """Begin a reading; it reads the counters around every turn."""
        return _EnergyReading(EnergyMeter(gpus=gpus_of(processes)), processes)


class _EnergyReading(Reading):
    def __init__(self, meter: EnergyMeter, processes: Sequence[int]) -> None:
        self._meter = meter
        self._processes = processes
        self._before: float | None = None
        self._gpus_before: float | None = None
        self._joules: list[float] = []
        self._gpu_joules: list[float] = []
        self._requests: list[float] = []
        self._busy_s = self._own_s = 0.0
        self._busy_before_s = self._own_before_s = 0.0

    def watch(self, processes: Sequence[int]) -> None:
        """Count the CPU time of these processes as the candidate's."""
        self._processes = processes

    def before_block(self) -> None:
        """Read the counters."""
        self._busy_before_s, self._own_before_s = busy_seconds(), self._cpu_s()
        self._before, self._gpus_before = self._meter.joules(), self._meter.gpu_joules()

    def after_block(self, blocks: Sequence[Block]) -> None:
        """Read the counters again; the turn's untimed requests used energy, too."""
        after, gpus_after = self._meter.joules(), self._meter.gpu_joules()
        self._busy_s += busy_seconds() - self._busy_before_s
        self._own_s += self._cpu_s() - self._own_before_s
        if self._before is not None and after is not None:
            self._joules.append(after - self._before)
            if self._gpus_before is not None and gpus_after is not None:
                self._gpu_joules.append(gpus_after - self._gpus_before)
            self._requests.append(sum(block.request_s.size + block.untimed for block in blocks))

    def measurements(self, timing: Timing) -> Mapping[str, Measurement]:
        """Return the energy per item; empty before the first turn."""
        if not self._joules:
            return {}
        size = timing.items / timing.blocks[0][0].request_s.shape[1]
        items = [size * number for number in self._requests]
        if self._only_gpus:
            return {ENERGY_PER_ITEM.name: energy_of(self._gpu_joules, items)}
        return {ENERGY_PER_ITEM.name: energy_of(self._joules, items, self._foreign())}

    @property
    def _only_gpus(self) -> bool:
        """Whether the packages' energy is left out: others used them, and GPUs were counted."""
        counted = bool(self._gpu_joules) and len(self._gpu_joules) == len(self._joules)
        return counted and self._meter.counts_packages and self._foreign() > MOST_FOREIGN

    def warnings(self) -> Sequence[str]:
        """Return a warning if other processes used much of the CPU time of the turns."""
        foreign = self._foreign()
        if foreign <= MOST_FOREIGN:
            return ()
        share = percent_text(foreign, decimals=0)
        if self._only_gpus:
            text = "other processes used"
            return (f"{ENERGY_PER_ITEM.name} is that of the GPUs: {text} {share} of the CPU time",)
        return (f"{ENERGY_PER_ITEM.name} contains other processes: {share} of the CPU time",)

    def _foreign(self) -> float:
        """Return the share of other processes in the machine's CPU time during the turns.

        It is 0 if it can be the error of the kernel's counts, one tick in each turn.
        """
        others_s = self._busy_s - self._own_s
        error_s = 2 * math.sqrt(len(self._joules)) / os.sysconf("SC_CLK_TCK")
        return others_s / self._busy_s if others_s > error_s else 0.0

    def _cpu_s(self) -> float:
        trees = dict.fromkeys(one for pid in self._processes for one in with_descendants(pid))
        return sum(cpu_seconds(pid) for pid in trees)


def energy_of(joules: Sequence[float], items: Sequence[float], foreign: float = 0.0) -> Measurement:
    """Return joules per item: total energy over total items; the interval is the turns' range.

    Args:
        joules: Energy of each turn.
        items: Items of each turn.
        foreign: Share of other processes in the CPU time of the turns. Above `MOST_FOREIGN` the
            lower end of the interval is without the same share of the energy.
    """
    each = np.array(joules) / np.array(items)
    share = foreign if foreign > MOST_FOREIGN else 0.0
    return Measurement(
        value=float(np.sum(joules) / np.sum(items)),
        unit=ENERGY_PER_ITEM.unit,
        low=float(each.min()) * (1 - share),
        high=float(each.max()),
        samples=len(each),
    )


def _readable_zones(folder: Path) -> Sequence[Path]:
    """Return the CPU packages (`intel-rapl:0`, ...) with a readable counter, without subzones."""
    zones = [zone for zone in sorted(folder.glob("*-rapl:*")) if zone.name.count(":") == 1]
    return [zone for zone in zones if _readable(zone / "energy_uj")]


def _readable(path: Path) -> bool:
    try:
        _read(path)
    except (OSError, ValueError):
        return False
    return True


def _read(path: Path) -> int:
    return int(path.read_text())
