"""Energy, where the machine can tell: Intel's and AMD's RAPL counters, NVIDIA's energy counter."""

from collections.abc import Sequence
from pathlib import Path

from .gpu import Gpus

RAPL = Path("/sys/class/powercap")
MICRO = 1e-6


class EnergyMeter:
    """Joules of the packages and GPUs of this machine, from a start that is nobody's business.

    Args:
        folder: Where the kernel shows its RAPL zones.
    """

    def __init__(self, folder: Path = RAPL) -> None:
        self._zones = _readable_zones(folder)
        self._gpus = Gpus()
        self._last = [_read(zone / "energy_uj") for zone in self._zones]
        self._turned = [0] * len(self._zones)

    @property
    def available(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._zones) or self._gpus.joules() is not None

    def joules(self) -> float | None:
        """The counters' sum, in joules; counters that wrapped are unrolled; None where none is."""
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
    """Whether this machine has an energy counter that this user may read."""
    return EnergyMeter().available


def _readable_zones(folder: Path) -> Sequence[Path]:
    """The packages (`intel-rapl:0`, ...) whose counter this user may read; not their parts."""
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
