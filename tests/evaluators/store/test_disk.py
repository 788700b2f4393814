"""A full disk, as the system and the libraries tell it: /dev/full has never room."""

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tunefront.evaluators.store import disk
from tunefront.evaluators.store.disk import free_bytes, full_folder, is_full, total_bytes
from tunefront.spaces import EvaluationError

FULL = Path("/dev/full")
"""Only opened and written to, never given to what makes a file anew and renames it."""


def plain_write() -> None:
    with FULL.open("wb", buffering=0) as stream:
        stream.write(b"x")


def numpy_save() -> None:
    with FULL.open("wb", buffering=0) as stream:
        np.savez(stream, allow_pickle=False, array=np.zeros(100_000))


def safetensors_save() -> None:
    """What its serializer says; it would put a file in the device's place."""
    raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def used_up() -> None:
    raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


@pytest.mark.parametrize("write", [plain_write, numpy_save, safetensors_save, used_up])
def test_a_full_disk_is_known_whoever_writes(write: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:
        write()
    assert is_full(caught.value), repr(caught.value)


def wrapped() -> None:
    try:
        plain_write()
    except OSError as error:
        raise EvaluationError("torch.export: could not save", cause="unsupported") from error


def while_cleaning_up() -> None:
    try:
        plain_write()
    except OSError:
        raise ValueError("and then this")  # noqa: B904


@pytest.mark.parametrize("fail", [wrapped, while_cleaning_up])
def test_a_full_disk_is_known_behind_other_errors(fail: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:
        fail()
    assert is_full(caught.value)


def unrelated() -> None:
    raise RuntimeError("file write failed")


def handled() -> None:
    try:
        plain_write()
    except OSError:
        raise ValueError("something else") from None


@pytest.mark.parametrize("fail", [unrelated, handled])
def test_other_errors_are_no_full_disk(fail: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:
        fail()
    assert not is_full(caught.value)


def test_room_is_that_of_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert 0 < free_bytes(tmp_path) <= total_bytes(tmp_path)
    assert total_bytes(tmp_path / "not" / "there" / "yet") == total_bytes(tmp_path)


def test_a_file_system_that_does_not_say_has_room() -> None:
    assert free_bytes(Path("/proc/self")) == total_bytes(Path("/proc/self")) == math.inf


def test_a_folder_without_room_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {tmp_path / "roomy": 2**30, tmp_path / "full": 2**10}
    for folder in free:
        folder.mkdir()
    monkeypatch.setattr(disk, "free_bytes", free.__getitem__)
    assert full_folder([tmp_path / "gone", *free]) == tmp_path / "full"
    assert full_folder([tmp_path / "roomy"]) is None
