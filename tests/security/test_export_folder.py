"""Attacks by entries of an export folder: nothing of them is run, and each is named."""

import importlib.util
import json
import os
import py_compile
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.security.conftest import resum

from tunefront.evaluators import load
from tunefront.evaluators.exports.folder import MANIFEST, read_manifest, tampered
from tunefront.evaluators.exports.verification import run_verification
from tunefront.search.deploy.recheck import recheck_export
from tunefront.search.deploy.verify import verify
from tunefront.spaces import ExportError


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=cwd, check=False, timeout=60
    )
    return done.stdout + done.stderr


def bytecode(folder: Path, source: str) -> None:
    """S1: bytecode that Python takes for run.py without a look at the source."""
    written = folder.parent / "evil_run.py"
    written.write_text(source)
    cached = folder / "__pycache__" / Path(importlib.util.cache_from_source("run.py")).name
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(written), cfile=str(cached), invalidation_mode=mode)


def linked_folder(folder: Path, source: str) -> None:
    """S2: a package that hides numpy, behind a link."""
    evil = folder.parent / "evil"
    evil.mkdir()
    (evil / "__init__.py").write_text(source)
    (folder / "numpy").symlink_to(evil)


def linked_file(folder: Path, source: str) -> None:
    evil = folder.parent / "evil.py"
    evil.write_text(source)
    (folder / "numpy.py").symlink_to(evil)


def added_file(folder: Path, source: str) -> None:
    (folder / "numpy.py").write_text(source)


def added_folder(folder: Path, source: str) -> None:
    (folder / "numpy").mkdir()
    (folder / "numpy" / "__init__.py").write_text(source)


def empty_folder(folder: Path, _: str) -> None:
    (folder / "numpy").mkdir()


def fifo(folder: Path, _: str) -> None:
    os.mkfifo(folder / "pipe")


def named_socket(folder: Path, _: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)


def replaced_by_link(folder: Path, _: str) -> None:
    (folder / "run.py").rename(folder.parent / "run.py")
    (folder / "run.py").symlink_to(folder.parent / "run.py")


ENTRIES: tuple[tuple[Callable[[Path, str], None], str], ...] = (
    (bytecode, "__pycache__/ was added"),
    (linked_folder, "numpy was added: a link"),
    (linked_file, "numpy.py was added: a link"),
    (added_file, "numpy.py was added"),
    (added_folder, "numpy/ was added"),
    (empty_folder, "numpy/ was added"),
    (fifo, "pipe was added: neither a file nor a folder"),
    (named_socket, "socket was added: neither a file nor a folder"),
    (replaced_by_link, "run.py is a link, not a plain file"),
)


@pytest.mark.parametrize(("attack", "problem"), ENTRIES, ids=[a.__name__ for a, _ in ENTRIES])
def test_entries_that_the_manifest_does_not_list_are_refused(
    export: Path, payload: str, marker: Path, attack: Callable[[Path, str], None], problem: str
) -> None:
    attack(export, payload)
    assert tampered(export, read_manifest(export)) == [problem]
    (check,) = run_verification(export)
    assert (check.name, check.holds, check.detail) == ("files", False, problem)
    with pytest.raises(ExportError, match=f"is not what was exported: {problem}"):
        load(export)
    assert not marker.exists()


def test_nothing_of_an_added_folder_is_run_by_verify_or_recheck(
    export: Path, payload: str, marker: Path
) -> None:
    added_file(export, payload)
    verification = verify(export)
    assert [check.detail for check in verification.checks if check.holds is False] == [
        "numpy.py was added"
    ]
    rechecked = recheck_export(export, None, lambda line: None)
    assert [(f.metric, f.verdict) for f in rechecked.findings] == [("files", "drifted")]
    assert not marker.exists()


@pytest.mark.parametrize("attack", [bytecode, linked_folder, added_file, added_folder])
@pytest.mark.parametrize("script", ["run.py", "serve.py"])
def test_scripts_import_nothing_from_their_folder(
    export: Path, payload: str, marker: Path, attack: Callable[[Path, str], None], script: str
) -> None:
    """They are run without `verify`; a library's name, and bytecode, in the folder hide nothing."""
    attack(export, payload)
    before = sorted(export.rglob("*"))
    if script == "run.py":
        assert "2." in run(script, cwd=export)
    else:
        assert '"input": [[1.0]]' in run(script, "--example", cwd=export)
        probe = "import serve, sys; serve.module_in(serve.HERE, 'run').load()"
        run("-P", "-B", "-c", f"import sys; sys.path.append({str(export)!r}); {probe}", cwd=export)
    assert not marker.exists()
    assert sorted(export.rglob("*")) == before


@pytest.mark.parametrize("script", ["run.py", "serve.py"])
def test_a_standard_module_in_the_folder_hides_nothing(
    export: Path, payload: str, marker: Path, script: str
) -> None:
    for name in ("pathlib", "argparse", "json", "os", "sys", "asyncio"):
        (export / f"{name}.py").write_text(payload)
    run(script, "--example", cwd=export)
    assert not marker.exists()


@pytest.mark.parametrize("linked", [False, True])
def test_a_manifest_that_is_no_file_does_not_hang(export: Path, linked: bool) -> None:
    (export / MANIFEST).unlink()
    if linked:
        (export / MANIFEST).symlink_to("/dev/zero")
    else:
        os.mkfifo(export / MANIFEST)
    for call in (verify, load, lambda folder: recheck_export(folder, None, lambda line: None)):
        with pytest.raises(ExportError, match="manifest.json can't be read: .*not a plain file"):
            call(export)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('{"format": 2}', "`files` must hold the sha256 sum of every file"),
        ('{"format": 2, "files": ["run.py"]}', "`files` must hold the sha256 sum of every file"),
        ('{"format": 2, "files": {"run.py": {"sha256": 1}}}', "`files` must hold the sha256 sum"),
        ('{"format": 2, "files": ' + "[" * 100_000, "can't be read: maximum recursion depth"),
    ],
)
def test_a_manifest_without_sums_is_refused(export: Path, written: str, problem: str) -> None:
    (export / MANIFEST).write_text(written)
    with pytest.raises(ExportError, match=problem):
        verify(export)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside"])
def test_names_outside_the_folder_are_refused(export: Path, name: str) -> None:
    manifest = dict(read_manifest(export))
    manifest["files"] = {**manifest["files"], name: {"sha256": "0" * 64}}
    (export / MANIFEST).write_text(json.dumps(manifest))
    assert tampered(export, read_manifest(export)) == [f"{name} lies outside the export"]


def test_an_export_without_its_manifest_is_not_loaded(export: Path) -> None:
    (export / MANIFEST).unlink()
    with pytest.raises(ExportError, match=r"no manifest.json here: it is no export"):
        load(export)


def test_names_with_control_characters_are_shown_escaped(export: Path) -> None:
    (export / "a\x1b[31mb").touch()
    assert tampered(export, read_manifest(export)) == [r"'a\x1b[31mb' was added"]


def test_many_added_files_are_counted(export: Path) -> None:
    for number in range(30):
        (export / f"added{number:02}").touch()
    (check,) = run_verification(export)
    assert check.detail.endswith("added19 was added; 10 more")


def test_extensions_of_an_export_leave_no_bytecode(export: Path, tmp_path: Path) -> None:
    """Bytecode would be a file that the manifest does not list."""
    (export / "extensions" / "0").mkdir(parents=True)
    source = "from tunefront.spaces import Extension\nEXTENSION = Extension(name='tiny_security')\n"
    (export / "extensions" / "0" / "tiny_security_extension.py").write_text(source)
    candidate = json.loads((export / "candidate.json").read_text())
    candidate["extensions"] = ["extensions/0/tiny_security_extension.py"]
    (export / "candidate.json").write_text(json.dumps(candidate))
    resum(export)
    program = f"from tunefront.evaluators import load; load({str(export)!r})"
    assert run("-c", program, cwd=tmp_path) == ""
    assert tampered(export, read_manifest(export)) == []


def test_it_loads_when_nothing_was_changed(export: Path, tmp_path: Path) -> None:
    moved = shutil.move(export, tmp_path / "__pycache__")  # the place of an export is no matter
    endpoint = load(moved)
    assert endpoint.facts()["runtime"] == "torch"
    endpoint.close()
