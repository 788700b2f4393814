"""Limits of control groups, from files as systemd, Docker and Kubernetes have them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tunefront.spaces.machine.control_groups import Limits, control_group_limits

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
CPU = "33 31 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
MEMORY = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
OTHER = "22 1 8:1 / / rw,relatime - ext4 /dev/root rw"
UNLIMITED = "9223372036854771712"


def limits(folder: Path, mounts: list[str], groups: str, files: Mapping[str, str]) -> Limits:
    """The limits in a root folder with these mounts, groups and files of control groups."""
    for name, text in {
        "proc/self/mountinfo": "\n".join([OTHER, *mounts]) + "\n",
        "proc/self/cgroup": groups,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return control_group_limits(folder)


@pytest.mark.parametrize(
    ("written", "cores"),
    [("200000 100000", 2.0), ("150000 100000", 1.5), ("50000 100000", 0.5), ("max 100000", None)],
)
def test_a_quota_in_a_container_of_version_2(
    tmp_path: Path, written: str, cores: float | None
) -> None:
    found = limits(tmp_path, [V2], "0::/", {"cpu.max": written, "memory.max": "max"})
    assert found == Limits(cores=cores, memory_mb=None)


def test_the_smallest_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "user.slice/cpu.max": "300000 100000",
        "user.slice/memory.max": str(4 * 2**30),
        "user.slice/user-1.slice/cpu.max": "max 100000",
        "user.slice/user-1.slice/job.scope/cpu.max": "800000 100000",
        "user.slice/user-1.slice/job.scope/memory.max": str(6 * 2**30),
        "system.slice/cpu.max": "100000 100000",  # another group's
    }
    found = limits(tmp_path, [V2], "0::/user.slice/user-1.slice/job.scope", files)
    assert found == Limits(cores=3.0, memory_mb=4096)


def test_limits_of_version_1_by_controller(tmp_path: Path) -> None:
    """In a container its own group is mounted; the paths in /proc/self/cgroup are the host's."""
    mounts = [CPU.format(root="/docker/abc"), MEMORY.format(root="/docker/abc")]
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "250000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(512 * 2**20),
    }
    found = limits(tmp_path, mounts, "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc", files)
    assert found == Limits(cores=2.5, memory_mb=512)


def test_groups_of_version_1_below_the_mounted_one(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/jobs/cpu.cfs_quota_us": "100000",
        "cpu,cpuacct/jobs/cpu.cfs_period_us": "50000",
        "memory/memory.limit_in_bytes": UNLIMITED,
    }
    mounts = [CPU.format(root="/"), MEMORY.format(root="/")]
    found = limits(tmp_path, mounts, "5:memory:/jobs\n4:cpu,cpuacct:/jobs", files)
    assert found == Limits(cores=2.0, memory_mb=None)


@pytest.mark.parametrize("group", ["0::/../other", "0::/not/mounted"])
def test_a_group_that_is_not_mounted_has_the_limits_of_the_mounted_one(
    tmp_path: Path, group: str
) -> None:
    found = limits(tmp_path, [V2], group, {"cpu.max": "100000 100000"})
    assert found.cores == 1.0


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert control_group_limits(tmp_path) == Limits()
