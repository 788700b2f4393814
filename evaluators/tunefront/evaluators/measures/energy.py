"""Energy from hardware counters, where present: RAPL (Intel, AMD) and NVIDIA's energy counter."""

from collections.abc import Sequence
from pathlib import Path

from .gpu import Gpus

RAPL = Path("/sys/class/powercap")
MICRO = 1e-6


class EnergyMeter:
    """Cumulative energy counters of CPU packages and GPUs.

    Only differences of two readings are meaningful.

    Args:
        folder: The folder in which the kernel exposes its RAPL zones.
    """

    def __init__(self, folder: Path = RAPL) -> None:
        self._zones = _readable_zones(folder)
        self._gpus = Gpus()
        self._last = [_read(zone / "energy_uj") for zone in self._zones]
        self._turned = [0] * len(self._zones)

    @property
    def available(self) -> bool:
        """Whether there is a counter that can be read."""
        return bool(self._zones) or self._gpus.joules() is not None

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
