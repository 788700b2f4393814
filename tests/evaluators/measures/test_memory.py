"""Memory as the kernel counts it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.measures.memory import folder_mb, process_memory_mb, tree_memory_mb

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
