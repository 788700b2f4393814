"""Verification of an export in a process of its own."""

import json
from pathlib import Path

import pytest

from tunefront.search.deploy.verify import verify


def test_nothing_in_the_working_folder_runs_before_the_files_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cd EXPORT; tunefront verify .` must not run a module that was put into the export."""
    export, ran = tmp_path / "export", tmp_path / "ran"
    export.mkdir()
    (export / "manifest.json").write_text(json.dumps({"format": 2, "files": {}}))
    for name in ("numpy", "queue", "statistics"):
        (export / f"{name}.py").write_text(f"open({str(ran)!r}, 'w')\nraise KeyError")
    monkeypatch.chdir(export)
    found = verify(Path())
    assert not found.passed
    assert [check.name for check in found.checks][:1] == ["files"]
    assert "numpy.py was added" in found.checks[0].detail
    assert not ran.exists()
