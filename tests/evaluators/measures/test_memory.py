"""Memory as the kernel counts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.measures.memory import (
    HostMemory,
    folder_mb,
    process_memory_mb,
    tree_memory_mb,
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
from tunefront.evaluators.measures.memory import process_memory_mb
before, _ = process_memory_mb()
block = bytearray({BLOCK_MB} * 2**20)
del block
after, peak = process_memory_mb()
print(json.dumps({{"grown": after - before, "peak": peak - before}}))
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
        own, _ = process_memory_mb()
        tree, _ = tree_memory_mb()
        assert tree - own > BLOCK_MB * 0.9
    finally:
        child.communicate(b"\n")


HELD = f"""
import sys
print(1, flush=True)
for line in sys.stdin:
    block = bytearray({BLOCK_MB} * 2**20)
    del block
    print(1, flush=True)
"""


def test_the_peak_of_other_processes_counts_their_libraries_once() -> None:
    """Two processes that allocated a block each, and gave it back."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
    idle_mb, _ = process_memory_mb(processes[0].pid)
    reading = HostMemory().start([process.pid for process in processes], [])
    for process in processes:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
    found = reading.measurements(Timing(blocks=(), items=1))
    for process in processes:
        process.communicate()
    above = found["model_memory_mb"].value
    assert above == pytest.approx(2 * BLOCK_MB, rel=0.1)
    assert found["peak_memory_mb"].value == pytest.approx(idle_mb + above, rel=0.02)


def test_a_process_that_has_ended_has_no_memory() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert process_memory_mb(process.pid) == (0.0, 0.0)
    assert tree_memory_mb(process.pid) == (0.0, 0.0)
    assert cpu_seconds(process.pid) == 0.0


def test_a_folder_s_files_add_up(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 2**20)
    (tmp_path / "below" / "b").write_bytes(b"x" * 2**19)
    assert folder_mb(tmp_path) == 1.5


MAPPED = """
import json, mmap, os, tempfile
from tunefront.evaluators.measures.memory import process_memory_mb
with tempfile.TemporaryFile() as file:
    file.truncate({size} * 2**20)
    before, _ = process_memory_mb()
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as block:
        mapped, _ = process_memory_mb()
        touched = sum(block[at] for at in range(0, len(block), 4096))
        after, peak = process_memory_mb()
print(json.dumps({{"mapped": mapped - before, "after": after - before, "peak": peak - before}}))
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
    own = process_memory_mb(engine.pid)[1]
    engine.communicate(b"\n")
    assert found["peak_memory_mb"].value == pytest.approx(own, abs=5)
    assert found["model_memory_mb"].value == found["peak_memory_mb"].value > 60
