"""The check of the machine before Ray starts: what is wrong, where, and what to do."""

import errno
import os
import pwd
import resource
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tunefront.search.cluster import machine_check
from tunefront.search.cluster.machine_check import LEAST_ADDRESS_SPACE, LEAST_FILES, check_machine
from tunefront.spaces import MachineError


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results folder on a machine on which everything is as it should be; in `tmp_path`, as
    are `home`, `cache`, `tmp`, and `file`, which is no folder."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file").touch()
    for name, folder in (("HOME", "home"), ("TUNEFRONT_CACHE", "cache"), ("TMPDIR", "tmp")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    return tmp_path / "results" / "made-up"


def problem(results: Path) -> str:
    with pytest.raises(MachineError) as caught:
        check_machine(results)
    return str(caught.value)


def test_a_machine_without_problems_is_left_as_it_is_but_for_empty_folders(
    results: Path, tmp_path: Path
) -> None:
    check_machine(results)
    check_machine(results)
    assert results.is_dir()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "file"]


def test_a_results_folder_that_cannot_be_written_is_named(results: Path, tmp_path: Path) -> None:
    assert problem(tmp_path / "file" / "made-up") == (
        f"the results folder {tmp_path / 'file'} can't be written: it is no folder; fix "
        "that, or run a copy of the experiment file in another folder"
    )
    results.parent.mkdir()
    results.touch()
    assert problem(results).startswith(f"the results folder {results} can't be written: it is no")


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        (
            "TUNEFRONT_CACHE",
            "file",
            "the cache folder HERE/file/stages can't be written: it is no folder; fix that, or set "
            "TUNEFRONT_CACHE to another folder",
        ),
        (
            "TMPDIR",
            "nowhere",
            "TMPDIR HERE/nowhere does not exist or is no folder; create it, or set TMPDIR to a "
            "folder that this user can write",
        ),
        (
            "HOME",
            "file",
            "HERE/file/.ray, where Ray keeps its token, can't be written: it is no folder; fix "
            "that, or set HOME to a folder that this user can write, or RAY_AUTH_TOKEN to a secret "
            "text",
        ),
    ],
)
def test_a_folder_of_the_environment_that_cannot_be_used_is_named(
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    text: str,
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / value))
    assert problem(results).replace(str(tmp_path), "HERE") == text


def test_without_a_home_nothing_starts(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    assert problem(results) == (
        f"user {os.getuid()} has no home folder, in which Ray keeps its token; set HOME to a "
        "folder that this user can write"
    )


@pytest.mark.parametrize("variable", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"])
def test_a_home_without_a_new_token_need_not_be_writable(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setenv(variable, "given")
    check_machine(results)
    monkeypatch.delenv(variable)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    check_machine(results)


def test_a_token_that_exists_is_not_written_again(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.touch()
    created: list[Path] = []
    create = tempfile.NamedTemporaryFile

    def noted(*, dir: Path, prefix: str) -> object:
        created.append(dir)
        return create(dir=dir, prefix=prefix)

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", noted)
    check_machine(results)
    assert token.parent not in created
    assert results in created


def test_without_any_temporary_folder_nothing_starts(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert problem(results) == (
        "no temporary folder can be written; set TMPDIR to a folder that this user can write"
    )


def with_files_left(monkeypatch: pytest.MonkeyPatch, left: int, total: int = 1000) -> None:
    """Let the disk of the results folder have room for so many more files."""
    real = os.statvfs

    def state(path: Path) -> object:
        if "results" in Path(path).parts:
            return SimpleNamespace(f_favail=left, f_files=total)
        return real(path)

    monkeypatch.setattr(os, "statvfs", state)


@pytest.mark.parametrize(
    ("number", "left", "reason"),
    [
        (errno.EROFS, 900, "its file system is read-only"),
        (errno.EACCES, 900, "this user has no permission"),
        (errno.EDQUOT, 900, "the disk quota is exhausted"),
        (errno.ENOSPC, 900, "its disk is full (`df -h RESULTS`)"),
        (errno.ENOSPC, 0, "its disk has no room for more files (`df -i RESULTS`)"),
        (errno.EIO, 900, os.strerror(errno.EIO)),
    ],
)
def test_the_reason_is_named(
    results: Path, monkeypatch: pytest.MonkeyPatch, number: int, left: int, reason: str
) -> None:
    create = tempfile.NamedTemporaryFile

    def failing(*, dir: Path, prefix: str) -> object:
        if dir == results:
            raise OSError(number, os.strerror(number))
        return create(dir=dir, prefix=prefix)

    results.mkdir(parents=True)
    with_files_left(monkeypatch, 900)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", failing)
    if left == 0:
        monkeypatch.setattr(machine_check, "_files_left", lambda folder: 0)
    text = problem(results).replace(str(results), "RESULTS")
    assert text.startswith(
        f"the results folder RESULTS can't be written: {reason}; fix that, or run"
    )


def test_a_disk_with_room_for_few_files_is_named(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_files_left(monkeypatch, 20)
    parent = results.parent
    assert problem(results) == (
        f"the results folder {parent} can't be used: its disk has room for 20 more files "
        f"(`df -i {parent}`), a search needs {LEAST_FILES}; delete files there, or run a "
        "copy of the experiment file in another folder"
    )


@pytest.mark.parametrize(("left", "total"), [(LEAST_FILES, 1000), (0, 0), (0, 1000)])
def test_file_systems_without_a_number_of_files_are_accepted(
    results: Path, monkeypatch: pytest.MonkeyPatch, left: int, total: int
) -> None:
    with_files_left(monkeypatch, left, total)
    check_machine(results)


def test_a_limited_address_space_is_named(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [4_096_000_000, LEAST_ADDRESS_SPACE]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[0], limits[0]))
    assert problem(results) == (
        "`ulimit -v` limits the address space of a process to 3.81 GB; Ray and torch reserve "
        "more than they use, at least 4 GB; run `ulimit -v unlimited` first, or use a shell or "
        "batch job without this limit"
    )
    limits.pop(0)
    check_machine(results)
