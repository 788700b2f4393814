"""Physical cores from the files of the system, and the order in which CPUs are given away."""

from pathlib import Path

import pytest

from tunefront.spaces.machine.topology import (
    Core,
    by_node,
    near_first,
    physical_cores,
    siblings,
    spread,
    whole_cores,
    within_quota,
)


def topology(folder: Path, listed: dict[int, str], name: str = "thread_siblings_list") -> Path:
    """A folder of CPUs with these lists of siblings."""
    for cpu, text in listed.items():
        path = folder / f"cpu{cpu}" / "topology"
        path.mkdir(parents=True)
        (path / name).write_text(text + "\n")
    return folder


FAR = {0: "0,4", 1: "1,5", 2: "2,6", 3: "3,7", 4: "0,4", 5: "1,5", 6: "2,6", 7: "3,7"}
NEAR = {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}
HYBRID = {0: "0-1", 1: "0-1", 2: "2", 3: "3"}


@pytest.mark.parametrize("name", ["thread_siblings_list", "core_cpus_list"])
@pytest.mark.parametrize(
    ("listed", "cores"),
    [
        (FAR, [(0, 4), (1, 5), (2, 6), (3, 7)]),
        (NEAR, [(0, 1), (2, 3)]),
        (HYBRID, [(0, 1), (2,), (3,)]),
    ],
)
def test_siblings_are_one_core(
    tmp_path: Path, listed: dict[int, str], cores: list[tuple[int, ...]], name: str
) -> None:
    found = physical_cores(listed, topology(tmp_path, listed, name))
    assert [core.cpus for core in found] == cores
    assert [core.number for core in found] == [cpus[0] for cpus in cores]


def test_a_core_has_one_number_in_processes_with_other_cpus(tmp_path: Path) -> None:
    """Leases are by number: CPU 4 is on the core of CPU 0, which this process may not use."""
    folder = topology(tmp_path, FAR)
    assert physical_cores({1, 4}, folder) == (
        Core(number=0, cpus=(4,)),
        Core(number=1, cpus=(1,)),
    )


@pytest.mark.parametrize("text", ["", "none", "7", "1-x"])
def test_where_siblings_are_not_listed_every_cpu_is_a_core(tmp_path: Path, text: str) -> None:
    folder = topology(tmp_path, {0: text, 1: text})
    assert [core.cpus for core in physical_cores({0, 1, 2}, folder)] == [(0,), (1,), (2,)]


def test_siblings_of_a_cpu(tmp_path: Path) -> None:
    folder = topology(tmp_path, FAR)
    assert siblings(6, folder) == {2, 6}
    assert siblings(9, folder) == {9}


def test_cpus_are_spread_over_the_cores(tmp_path: Path) -> None:
    assert spread(physical_cores(FAR, topology(tmp_path / "a", FAR))) == list(range(8))
    assert spread(physical_cores(NEAR, topology(tmp_path / "b", NEAR))) == [0, 2, 1, 3]
    assert spread(physical_cores(HYBRID, topology(tmp_path / "c", HYBRID))) == [0, 2, 3, 1]
    assert spread(()) == []


@pytest.mark.parametrize(
    ("quota", "whole"), [(None, 4), (2.0, 2), (2.9, 2), (1.0, 1), (0.5, 1), (16.0, 4)]
)
def test_a_quota_pays_for_whole_cores(quota: float | None, whole: int) -> None:
    cores = [Core(number=n, cpus=(n,)) for n in range(4)]
    assert list(within_quota(cores, quota)) == cores[:whole]
    assert min(4, whole_cores(quota, 4)) == whole


SIX = [Core(number=n, cpus=(n, n + 6)) for n in range(6)]
LOW, HIGH, UNKNOWN = frozenset({0, 1, 2, 6, 7, 8}), frozenset({3, 4, 5, 9}), frozenset[int]()


@pytest.mark.parametrize(
    ("nodes", "ordered"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        ([UNKNOWN], [0, 1, 2, 3, 4, 5]),
        ([HIGH], [3, 4, 5, 0, 1, 2]),
        ([HIGH, LOW], [3, 0, 4, 1, 5, 2]),  # the first two are near both devices
        ([HIGH, HIGH], [3, 4, 5, 0, 1, 2]),
        ([UNKNOWN, HIGH], [3, 4, 5, 0, 1, 2]),
    ],
)
def test_cores_near_devices_come_first(nodes: list[frozenset[int]], ordered: list[int]) -> None:
    assert [core.number for core in near_first(SIX, nodes)] == ordered


@pytest.mark.parametrize(
    ("cores", "nodes", "parts"),
    [
        ([3, 0], [], [3, 0]),
        ([3, 0], [HIGH, LOW], [3, 0]),
        ([0, 1, 3, 4], [HIGH, LOW], [3, 4, 0, 1]),
        ([0, 1, 2, 3], [HIGH, LOW], [3, 0, 1, 2]),  # one core near the first is all there is
        ([4, 3, 1], [LOW, HIGH], [1, 3, 4]),
        ([2, 5], [UNKNOWN, LOW], [2, 5]),
    ],
)
def test_each_device_has_a_part_of_the_cores(
    cores: list[int], nodes: list[frozenset[int]], parts: list[int]
) -> None:
    assert [core.number for core in by_node([SIX[n] for n in cores], nodes)] == parts
