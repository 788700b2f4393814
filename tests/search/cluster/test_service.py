"""The Ray process before it starts Ray."""

import os
from pathlib import Path

import pytest

from tunefront.search.cluster.service import _leave_working_folder


def test_rays_workers_do_not_get_the_users_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `PYTHONPATH` names stays the same, though the folder changes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "mine", "/absolute"]))
    results = tmp_path / "results"
    results.mkdir()
    _leave_working_folder(str(results))
    assert Path.cwd() == results
    assert os.environ["PYTHONPATH"] == f"{tmp_path / 'mine'}{os.pathsep}/absolute"
