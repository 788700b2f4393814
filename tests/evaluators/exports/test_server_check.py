"""The check of an export's text server: what it says if the server does not answer."""

from pathlib import Path

import pytest

from tunefront.evaluators.exports import verification
from tunefront.evaluators.exports.folder import SERVER


def checked(folder: Path, script: str) -> verification.Check:
    (folder / SERVER).write_text(script)
    return verification.server_check(folder)


def test_a_server_that_does_not_answer_in_time_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "SERVER_S", 0.2)
    found = checked(tmp_path, "import threading; threading.Event().wait()")
    assert (found.name, found.holds) == ("server", False)
    assert found.detail == "serve.py --sample has not answered after 0.2 s"


def test_a_server_that_fails_is_reported_by_its_last_line(tmp_path: Path) -> None:
    found = checked(tmp_path, "raise ValueError('no such model')")
    assert (found.holds, found.detail) == (False, "ValueError: no such model")


def test_missing_libraries_of_the_server_decide_nothing(tmp_path: Path) -> None:
    found = checked(tmp_path, "import not_installed_anywhere")
    assert found.holds is None
    assert found.detail == "ModuleNotFoundError: No module named 'not_installed_anywhere'"
