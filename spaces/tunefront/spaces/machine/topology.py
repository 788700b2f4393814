"""The physical cores behind the CPUs of the system: hyperthreads are several CPUs of one core."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A physical core.

    Attributes:
        number: The lowest number of its CPUs, also of those that this process may not use.
        cpus: Its CPUs that this process may use, in ascending order.
    """

    number: int
    cpus: tuple[int, ...]


def physical_cores(cpus: Iterable[int], folder: Path = CPUS) -> tuple[Core, ...]:
    """Return the physical cores of some CPUs, in ascending order.

    Where the system does not list siblings, every CPU is a core.

    Args:
        cpus: The CPUs that this process may use.
        folder: Folder of the system's CPUs, for tests.
    """
    found: dict[int, list[int]] = defaultdict(list)
    for cpu in sorted(cpus):
        found[min(siblings(cpu, folder))].append(cpu)
    return tuple(Core(number=number, cpus=tuple(own)) for number, own in sorted(found.items()))


def siblings(cpu: int, folder: Path = CPUS) -> frozenset[int]:
    """Return the CPUs of the physical core of a CPU, itself included.

    Args:
        cpu: The CPU.
        folder: Folder of the system's CPUs, for tests.
    """
    for name in ("core_cpus_list", "thread_siblings_list"):  # the second is the older name
        listed = _numbers(_text(folder / f"cpu{cpu}/topology/{name}"))
        if cpu in listed:
            return listed
    return frozenset({cpu})


def whole_cores(quota: float | None, available: int) -> int:
    """Return the number of whole cores within a CPU quota, at least 1; `available` without one."""
    return available if quota is None else max(1, int(quota + 1e-9))


def within_quota(cores: Sequence[Core], quota: float | None) -> Sequence[Core]:
    """Return the first cores, as many as a CPU quota pays for all the time."""
    return cores[: whole_cores(quota, len(cores))]


def spread(cores: Sequence[Core]) -> list[int]:
    """Return the CPUs of some cores: one of each core, then the second of each, and so on.

    So any first n are on different cores as long as there are n.
    """
    most = max((len(core.cpus) for core in cores), default=0)
    return [core.cpus[turn] for turn in range(most) for core in cores if turn < len(core.cpus)]


def near_first(cores: Sequence[Core], nodes: Sequence[frozenset[int]]) -> Sequence[Core]:
    """Return the cores with those near some devices first.

    The cores near each device come in turns, so that the first n are near as many devices.

    Args:
        cores: The cores.
        nodes: For each device the CPUs near it; empty if they are unknown.
    """
    if not any(nodes):
        return cores
    near = [[core for core in cores if node.intersection(core.cpus)] for node in nodes]
    turns = [core for turn in zip_longest(*near) for core in turn if core is not None]
    return list(dict.fromkeys([*turns, *cores]))


def by_node(cores: Sequence[Core], nodes: Sequence[frozenset[int]]) -> Sequence[Core]:
    """Return the cores in equal parts for each device, as many as can be near it in its part.

    Args:
        cores: The cores.
        nodes: For each device the CPUs near it; empty if they are unknown.
    """
    if not any(nodes):
        return cores
    each, left = len(cores) // len(nodes), sorted(cores, key=lambda core: core.number)
    found: list[Core] = []
    for node in nodes:
        left.sort(key=lambda core: node.isdisjoint(core.cpus))
        found += left[:each]
        del left[:each]
    return [*found, *left]


def _numbers(written: str) -> frozenset[int]:
    """Return the numbers of a list such as `0-3,8`; empty if it is none."""
    found: set[int] = set()
    try:
        for part in filter(None, written.split(",")):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    except ValueError:
        return frozenset()
    return frozenset(found)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
