"""Temporary folders: for this user only, and none is left by processes that were killed."""

import os
import subprocess
import sys
from pathlib import Path

from tunefront.evaluators.isolation.scratch import scratch_folder

KILLED = """
import os, sys
from pathlib import Path
from tunefront.evaluators.isolation.scratch import scratch_folder

with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "file").write_text("x")
    os.kill(os.getpid(), 9)
"""


def left(temporary: Path) -> list[Path]:
    return [path for path in temporary.rglob("*") if path.is_file()]


def test_a_folder_is_empty_private_and_removed(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.iterdir()) == []
        (folder / "below").mkdir()
        (folder / "below" / "file").touch()
    assert not folder.exists()
    assert left(tmp_path) == []


def test_what_killed_processes_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as first:
        for _ in range(3):
            subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
        assert len(left(tmp_path)) > 1
        with scratch_folder(tmp_path) as second:
            others = [path for path in first.parent.iterdir() if path.name != "locks"]
            assert sorted(others) == sorted([first, second])
        assert first.is_dir()
    assert left(tmp_path) == []


def test_the_folder_is_below_that_of_the_environment(own_temporary_folder: None) -> None:
    with scratch_folder() as folder:
        assert str(folder).startswith(f"{os.environ['TMPDIR']}/tunefront-{os.getuid()}/")
