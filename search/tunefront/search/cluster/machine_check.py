"""Check of this machine before Ray starts: folders that a search writes, and the address space.

Without it, Ray and the workers fail late and with messages that do not name the cause.
"""

import errno
import os
import resource
import tempfile
from pathlib import Path

from tunefront.evaluators import stages_folder
from tunefront.spaces import MachineError

LEAST_ADDRESS_SPACE = 4 * 2**30
"""Minimum limit of the address space of a process in bytes, if there is one.

A process of Ray reserves 2.7 GB on a machine with two cores; with a limit of 1.5 GB none starts.
"""
LEAST_FILES = 500
"""Minimum number of files that can still be created on the disk of a folder; Ray makes 90."""
PROBE = b"tunefront"
REASONS = {
    errno.EACCES: "this user has no permission",
    errno.EDQUOT: "the disk quota is exhausted",
    errno.EEXIST: "it is no folder",
    errno.ENOTDIR: "it is no folder",
    errno.EPERM: "this user has no permission",
    errno.EROFS: "its file system is read-only",
}
"""Texts by error number; others have the text of the system."""


def check_machine(results: Path) -> None:
    """Check what a search needs from this machine.

    Args:
        results: The results folder of the search.

    Raises:
        MachineError: If a folder can't be written or the address space is limited; the message
            names the folder or limit, what is wrong, and what to do.
    """
    _check_home()
    _check_temporary_folder()
    advice = "run a copy of the experiment file in another folder"
    for folder in (results.parent, results):  # the parent folder has the lock of the search
        _check_roomy(folder, f"the results folder {folder}", advice)
    cache = stages_folder()
    advice = "set TUNEFRONT_CACHE to another folder"
    _check_roomy(cache, f"the cache folder {cache}", advice)
    _check_address_space()


def _check_home() -> None:
    """Check that Ray can keep its token in the home folder; existing tokens need no writing."""
    advice = "set HOME to a folder that this user can write"
    try:
        folder = Path.home() / ".ray"
    except RuntimeError as error:  # an empty environment, and a user without an entry
        raise MachineError(
            f"user {os.getuid()} has no home folder, in which Ray keeps its token; {advice}"
        ) from error
    if _has_token(folder):
        return
    _check_writable(
        folder,
        f"{folder}, where Ray keeps its token,",
        f"{advice}, or RAY_AUTH_TOKEN to a secret text",
    )


def _has_token(folder: Path) -> bool:
    """Return whether Ray writes no token, because it has one, joins a cluster or needs none."""
    if {"RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}.intersection(os.environ):
        return True
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return True
    return os.path.isfile(folder / "auth_token")  # `Path.is_file` raises if it can't be seen


def _check_temporary_folder() -> None:
    named = os.environ.get("TMPDIR")
    advice = "set TMPDIR to a folder that this user can write"
    try:
        folder = Path(named or tempfile.gettempdir())
    except FileNotFoundError as error:
        raise MachineError(f"no temporary folder can be written; {advice}") from error
    what = f"{'TMPDIR' if named else 'the temporary folder'} {folder}"
    if not os.path.isdir(folder):
        raise MachineError(f"{what} does not exist or is no folder; create it, or {advice}")
    _check_roomy(folder, what, advice)


def _check_roomy(folder: Path, what: str, advice: str) -> None:
    """Check that a folder can be written and its disk has room for the files of a search.

    Args:
        folder: The folder.
        what: Its name in the message.
        advice: What to do if it can't be used.

    Raises:
        MachineError: If it can't be written, or its disk has room for few more files.
    """
    _check_writable(folder, what, advice)
    left = _files_left(folder)
    if left and left < LEAST_FILES:  # 0 is no number of files: one has just been created
        raise MachineError(
            f"{what} can't be used: its disk has room for {left} more files (`df -i {folder}`), a "
            f"search needs {LEAST_FILES}; delete files there, or {advice}"
        )


def _check_writable(folder: Path, what: str, advice: str) -> None:
    """Check that files can be created and written in a folder, which is created if missing.

    Raises:
        MachineError: If that fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".tunefront-") as probe:
            probe.write(PROBE)
            probe.flush()
    except OSError as error:
        reason = _reason(error, folder)
        raise MachineError(f"{what} can't be written: {reason}; fix that, or {advice}") from error


def _reason(error: OSError, folder: Path) -> str:
    """Return why a folder can't be written."""
    if error.errno == errno.ENOSPC:
        if _files_left(folder) == 0:
            return f"its disk has no room for more files (`df -i {_existing(folder)}`)"
        return f"its disk is full (`df -h {_existing(folder)}`)"
    return REASONS.get(error.errno or 0) or error.strerror or str(error)


def _files_left(folder: Path) -> int | None:
    """Return how many files the disk of a folder has room for; None if it has no such limit."""
    state = os.statvfs(_existing(folder))
    return state.f_favail if state.f_files else None


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _check_address_space() -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE:
        raise MachineError(
            f"`ulimit -v` limits the address space of a process to {limit / 2**30:.3g} GB; Ray "
            f"and torch reserve more than they use, at least {LEAST_ADDRESS_SPACE / 2**30:g} GB; "
            "run `ulimit -v unlimited` first, or use a shell or batch job without this limit"
        )
