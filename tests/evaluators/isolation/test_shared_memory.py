"""What a killed process left in shared memory goes; what anybody may be using stays."""

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunefront.evaluators.isolation.shared_memory import SHARED_MEMORY_FOLDER, remove_leftovers

pytestmark = pytest.mark.skipif(not SHARED_MEMORY_FOLDER.is_dir(), reason="no shared memory here")


def name_of(prefix: str) -> Path:
    """A name that nobody else has."""
    return SHARED_MEMORY_FOLDER / f"{prefix}tunefront_test_{os.getpid()}_{time.monotonic_ns()}"


def left(prefix: str) -> Path:
    path = name_of(prefix)
    path.write_bytes(b"x" * 4096)
    return path


def remove(since: float, *paths: Path) -> list[str]:
    """Which of these files are gone; what others left meanwhile is none of the test's business."""
    try:
        removed = remove_leftovers(since)
        assert all(path.exists() is (path.name not in removed) for path in paths)
        return [path.name for path in paths if path.name in removed]
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("prefix", ["torch_1_", "psm_", "nccl-", "sem.mp-", "sem.loky-"])
def test_what_libraries_leave_is_removed(prefix: str) -> None:
    since = time.time()
    path = left(prefix)
    assert remove(since, path) == [path.name]


def test_openmp_s_registration_goes_with_its_process() -> None:
    """It is closed while its process lives."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    since = time.time()
    living = left(f"__KMP_REGISTERED_LIB_{os.getpid()}_")
    dead = left(f"__KMP_REGISTERED_LIB_{ended.pid}_")
    assert remove(since, living, dead) == [dead.name]


@pytest.mark.parametrize("prefix", ["", "torch", "tmp_torch_", "my_psm_", "sem.", "cache-"])
def test_other_names_stay(prefix: str) -> None:
    since = time.time()
    path = left(prefix)
    assert remove(since, path) == []


def test_what_was_there_before_stays() -> None:
    path = left("psm_")
    assert remove(time.time() + 1, path) == []


def test_what_is_open_or_mapped_stays() -> None:
    since = time.time()
    opened, mapped = left("psm_"), left("torch_1_")
    with opened.open("rb"), mapped.open("r+b") as stream:
        memory = mmap.mmap(stream.fileno(), 4096)
        stream.close()
        assert remove(since, opened, mapped) == []
        memory.close()


def test_a_folder_or_a_link_of_that_name_stays(tmp_path: Path) -> None:
    since = time.time()
    (tmp_path / "psm_folder").mkdir()
    (tmp_path / "target").touch()
    (tmp_path / "psm_link").symlink_to(tmp_path / "target")
    assert remove_leftovers(since, tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 3


def test_another_user_s_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "psm_theirs").touch()
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    assert remove_leftovers(time.time() - 60, tmp_path) == []
    assert (tmp_path / "psm_theirs").exists()


def test_without_shared_memory_nothing_happens(tmp_path: Path) -> None:
    assert remove_leftovers(0.0, tmp_path / "nowhere") == []


READER_COMES = """
import subprocess, sys
from pathlib import Path
from tunefront.evaluators.isolation.shared_memory import remove_leftovers

plain = Path.unlink

def unlink(path):
    subprocess.run(["timeout", "0.5", "cat", str(path)], check=False)
    plain(path)

Path.unlink = unlink
print(*remove_leftovers(0.0, Path(sys.argv[1])))
"""


def test_a_reader_that_comes_meanwhile_ends_nothing(tmp_path: Path) -> None:
    """Whoever opens a file under a lease has a signal sent, which by default ends the process."""
    (tmp_path / "psm_file").write_bytes(b"x")
    done = subprocess.run(
        [sys.executable, "-c", READER_COMES, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "psm_file\n")
