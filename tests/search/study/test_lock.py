"""Locks: one holder, whose process id is told only while it holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.search.study.lock import Locked, hold_lock, holder, note_of

HOLD = """
import sys, time
from pathlib import Path
from tunefront.search.study.lock import hold_lock

with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    assert holder(path) is None
    with hold_lock(path):
        assert holder(path) == os.getpid()
    assert holder(path) is None
    assert path.read_text() == ""


def test_a_note_is_read_while_the_lock_is_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert note_of(path) == ""
    with hold_lock(path) as lock:
        assert note_of(path) == ""
        lock.note("planned: 3")
        lock.note("planned: 4")
        assert note_of(path) == "planned: 4"
        assert holder(path) == os.getpid()
    assert note_of(path) == ""


def test_a_second_holder_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = start_holder(path)
    with pytest.raises(Locked), hold_lock(path):
        pass
    assert holder(path) == process.pid
    process.communicate()
    with hold_lock(path):
        assert holder(path) == os.getpid()


def test_a_killed_holder_holds_no_more(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = start_holder(path)
    process.kill()
    process.communicate()
    assert path.read_text() == str(process.pid)
    assert holder(path) is None
    with hold_lock(path):
        pass


@pytest.mark.parametrize("written", ["", "not a number", "1", str(2**31)])
def test_a_process_id_that_does_not_hold_the_lock_is_not_believed(
    tmp_path: Path, written: str
) -> None:
    path = tmp_path / "lock"
    process = start_holder(path)
    path.write_text(written)
    assert holder(path) == 0
    process.communicate()


def test_reading_a_lock_does_not_block_its_holder(tmp_path: Path) -> None:
    """Who looks takes the lock for an instant; who wants to hold it waits that long."""
    import fcntl
    import threading

    path = tmp_path / "lock"
    path.touch()
    with path.open() as looked:
        fcntl.flock(looked, fcntl.LOCK_SH)
        threading.Timer(0.15, fcntl.flock, (looked.fileno(), fcntl.LOCK_UN)).start()
        with hold_lock(path):
            assert holder(path) == os.getpid()
