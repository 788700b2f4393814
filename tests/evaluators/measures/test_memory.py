"""Memory as the kernel counts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.measures.memory import (
    GroupMemory,
    HostMemory,
    ProcessMemory,
    folder_mb,
    group_memory,
    process_memory,
)
from tunefront.evaluators.measures.processes import cpu_seconds
from tunefront.evaluators.statistics.timing import Timing

BLOCK_MB = 256


def peak_of(program: str) -> dict[str, float]:
    import json

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_the_peak_stays_when_memory_is_given_back() -> None:
    found = peak_of(
        f"""
import json
from tunefront.evaluators.measures.memory import process_memory
before = process_memory().now_mb
block = bytearray({BLOCK_MB} * 2**20)
del block
after = process_memory()
print(json.dumps({{"grown": after.now_mb - before, "peak": after.peak_mb - before}}))
"""
    )
    assert found["grown"] < BLOCK_MB / 4
    assert found["peak"] == pytest.approx(BLOCK_MB, rel=0.1)


def test_children_count() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", f"b = bytearray({BLOCK_MB} * 2**20); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        own_mb = process_memory().now_mb
        assert group_memory([os.getpid()]).now_mb - own_mb > BLOCK_MB * 0.9
    finally:
        child.communicate(b"\n")


FILE_MB = 64
HELD = f"""
import mmap, sys
def touched(block):
    return sum(block[at] for at in range(0, len(block), 4096))
print(1, flush=True)
for line in sys.stdin:
    with open(line.strip(), "rb") as file:
        kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    block = bytearray({BLOCK_MB} * 2**20)
    print(touched(kept), flush=True)
    del block
"""
"""For each file that it is given it maps and reads the file, and allocates a block meanwhile."""


def test_replicas_have_memory_of_their_own_and_share_files_whoever_else_has_them(
    tmp_path: Path,
) -> None:
    """Three processes; the third is no replica, and has mapped the same file."""
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(FILE_MB * 2**20))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    replicas = [process.pid for process in processes[:2]]

    def say(process: "subprocess.Popen[str]", text: str) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{text}\n")
        process.stdin.flush()

    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    idle_mb = group_memory(replicas).now_mb
    single_mb = process_memory(replicas[0]).now_mb
    reading = HostMemory().start(replicas, [])
    for process in processes:
        say(process, str(weights))
        assert process.stdout is not None
        process.stdout.readline()
    found = reading.measurements(Timing(blocks=(), items=1))
    for process in processes:
        process.communicate()
    assert single_mb < idle_mb < 2 * single_mb, "they share Python's own pages"
    added_mb = 2 * BLOCK_MB + FILE_MB
    assert found["model_memory_mb"].value == pytest.approx(added_mb, rel=0.02)
    assert found["peak_memory_mb"].value == pytest.approx(idle_mb + added_mb, rel=0.02)


LIBRARY, WEIGHTS = ("fd:00", "1"), ("fd:00", "2")


def memory(now_mb: float, peak_mb: float, library_mb: float, weights_mb: float) -> ProcessMemory:
    return ProcessMemory(
        now_mb=now_mb,
        peak_mb=peak_mb,
        files_mb={LIBRARY: library_mb, WEIGHTS: weights_mb},
        libraries=frozenset({LIBRARY}),
    )


def test_pages_of_files_count_once_and_private_ones_in_each_process() -> None:
    alone = GroupMemory.of([memory(100, 120, 30, 10)])
    assert alone == GroupMemory(now_mb=100, peak_mb=120, libraries_mb=30)
    both = GroupMemory.of([memory(100, 120, 30, 10), memory(105, 130, 35, 10)])
    assert both == GroupMemory(now_mb=165, peak_mb=210, libraries_mb=35)
    assert GroupMemory.of([]) == GroupMemory(now_mb=0, peak_mb=0, libraries_mb=0)


PLUGIN = """
import sys
print(1, flush=True)
for line in sys.stdin:
    import ctypes, mmap
    with open(line.strip(), "rb") as file:
        plugin = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    sum(plugin[at] for at in range(0, len(plugin), 4096))
    print(1, flush=True)
"""


def test_a_library_that_is_loaded_with_the_model_is_no_memory_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "plugin").write_bytes(bytes(FILE_MB * 2**20))
    process = subprocess.Popen(
        [sys.executable, "-c", PLUGIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()
    reading = HostMemory().start([process.pid], [])
    idle_mb = process_memory(process.pid).now_mb
    process.stdin.write(f"{tmp_path / 'plugin'}\n")
    process.stdin.flush()
    process.stdout.readline()
    found = reading.measurements(Timing(blocks=(), items=1))
    process.communicate()
    assert found["peak_memory_mb"].value > idle_mb + FILE_MB
    assert found["model_memory_mb"].value < FILE_MB / 4


def test_a_process_that_has_ended_has_no_memory() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert process_memory(process.pid) == ProcessMemory()
    assert group_memory([process.pid]).peak_mb == 0.0
    assert cpu_seconds(process.pid) == 0.0


def test_a_folder_s_files_add_up(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 2**20)
    (tmp_path / "below" / "b").write_bytes(b"x" * 2**19)
    assert folder_mb(tmp_path) == 1.5


MAPPED = """
import json, mmap, os, tempfile
from tunefront.evaluators.measures.memory import process_memory
with tempfile.TemporaryFile() as file:
    file.truncate({size} * 2**20)
    before = process_memory()
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as block:
        mapped = process_memory()
        touched = sum(block[at] for at in range(0, len(block), 4096))
        after = process_memory()
found = {{"mapped": mapped.now_mb, "after": after.now_mb, "peak": after.peak_mb}}
print(json.dumps({{name: value - before.now_mb for name, value in found.items()}}))
"""


def test_a_file_that_is_mapped_counts_once_it_is_touched() -> None:
    found = peak_of(MAPPED.format(size=BLOCK_MB))
    assert found["mapped"] < BLOCK_MB / 4
    assert found["after"] == pytest.approx(BLOCK_MB, rel=0.1)
    assert found["peak"] == pytest.approx(BLOCK_MB, rel=0.1)


def test_an_engine_s_processes_count_instead_of_the_one_that_sends_requests() -> None:
    reading = HostMemory().start([os.getpid()], [])
    engine = subprocess.Popen(
        [sys.executable, "-c", "b = bytearray(60 * 2**20); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert engine.stdout is not None
    engine.stdout.readline()
    reading.watch([engine.pid])
    found = reading.measurements(Timing(blocks=[], items=1))
    own = process_memory(engine.pid).peak_mb
    engine.communicate(b"\n")
    assert found["peak_memory_mb"].value == pytest.approx(own, abs=5)
    assert found["model_memory_mb"].value == found["peak_memory_mb"].value > 60
