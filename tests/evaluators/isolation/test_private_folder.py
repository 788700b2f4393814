"""Folders of this user alone, and files that live as long as their process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunefront.evaluators.isolation.private_folder import living_file, living_files, private_folder
from tunefront.spaces import MachineError


def test_a_new_folder_is_for_this_user_only(tmp_path: Path) -> None:
    found = private_folder(tmp_path / "a" / "b")
    assert found.stat().st_mode & 0o777 == 0o700
    assert private_folder(found) == found


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(MachineError, match=r"link is no folder \(it may be a link\); remove it"):
        private_folder(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="file can't be created: "):
        private_folder(tmp_path / "file")


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.getuid()
    monkeypatch.setattr("tunefront.evaluators.isolation.private_folder.os.getuid", lambda: own + 1)
    with pytest.raises(MachineError, match=rf"belongs to user {own}, not to {own + 1}"):
        private_folder(tmp_path / "a")


def test_a_file_lives_as_long_as_its_context(tmp_path: Path) -> None:
    with living_file(tmp_path / "one", "content"):
        assert [tuple(file) for file in living_files(tmp_path)] == [("one", "content")]
    assert living_files(tmp_path) == []


def test_the_file_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tunefront.evaluators.isolation.private_folder import living_file\n"
        "with living_file(Path(sys.argv[1]), 'x'): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "one"], check=False)
    assert (tmp_path / "one").exists()
    assert living_files(tmp_path) == []
    assert not (tmp_path / "one").exists()
