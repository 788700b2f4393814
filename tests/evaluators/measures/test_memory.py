"""Memory as the kernel counts it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.measures.machine import MachineWatch
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


def test_the_machine_s_state_is_shares() -> None:
    watch = MachineWatch()
    sum(range(10**6))
    state = watch.state()
    assert 0 <= state.steal <= 1
    assert 0 <= state.foreign <= 1
    assert state.load >= 0
    assert set(state.to_dict()) == {"load", "steal", "foreign"}
