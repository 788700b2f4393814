"""The manifest and the scripts of an export folder."""

import os
from pathlib import Path

import pytest

from tunefront.evaluators.exports.contents import open_plain
from tunefront.evaluators.exports.folder import (
    MANIFEST,
    read_manifest,
    tampered,
    with_safe_imports,
    write_manifest,
)
from tunefront.spaces import ExportError


def test_the_manifest_lists_every_file_also_one_of_its_own_name_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("run.py", "a/b/weights", f"a/{MANIFEST}"):
        (tmp_path / name).write_text(name)
    (tmp_path / "empty" / "empty").mkdir(parents=True)
    write_manifest(tmp_path, {"trial": 1})
    manifest = read_manifest(tmp_path)
    assert set(manifest["files"]) == {"run.py", "a/b/weights", f"a/{MANIFEST}"}
    assert manifest["trial"] == 1
    assert not (tmp_path / "empty").exists()
    assert tampered(tmp_path, manifest) == []
    (tmp_path / "run.py").write_text("changed")
    (tmp_path / "a" / MANIFEST).unlink()
    assert tampered(tmp_path, manifest) == [f"a/{MANIFEST} is missing", "run.py has changed"]


def test_an_export_with_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(ExportError, match="an export holds plain files only, but link is none"):
        write_manifest(tmp_path, {})


def test_a_file_that_can_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.py").touch()
    write_manifest(tmp_path, {})
    manifest = read_manifest(tmp_path)

    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tunefront.evaluators.exports.folder.sha256_of", denied)
    assert tampered(tmp_path, manifest) == ["run.py can't be read: Permission denied"]


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(OSError, match="it is not a plain file"):
            open_plain(path)


@pytest.mark.parametrize(
    ("script", "first"),
    [
        ("import numpy\n", ""),
        ('"""Doc."""\nimport numpy\n', '"""Doc."""\n'),
        (
            '"""Doc.\n\nLines.\n"""\n\nfrom __future__ import annotations\nimport numpy\n',
            '"""Doc.\n\nLines.\n"""\n\nfrom __future__ import annotations\n',
        ),
    ],
)
def test_the_folder_leaves_the_import_path_before_the_first_import(script: str, first: str) -> None:
    found = with_safe_imports(script)
    assert found.startswith(f"{first}\nimport os\nimport sys\n")
    assert found.endswith("!= _HERE]\nimport numpy\n")
    compile(found, "run.py", "exec")


def test_a_script_that_is_no_python_is_not_exported() -> None:
    with pytest.raises(ExportError, match="the runtime's script is not valid Python: "):
        with_safe_imports("def load(:\n")
