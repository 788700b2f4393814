"""Folders that only this user can access, and files there that live as long as their process."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tunefront.spaces import MachineError

TEMPORARY = Path("/tmp")
"""Folder for temporary files that does not depend on `TMPDIR`."""


def user_folder(temporary: Path = TEMPORARY) -> Path:
    """Return the private folder of this user in a folder for temporary files; create it.

    Raises:
        MachineError: As for `private_folder`.
    """
    return private_folder(temporary / f"tunefront-{os.getuid()}")


def private_folder(path: Path) -> Path:
    """Create a folder that only this user can access, or check an existing one; return it.

    Raises:
        MachineError: If the path is no folder, belongs to another user, is open to others, or
            can't be created.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise MachineError(f"{path} can't be created: {error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise MachineError(f"{path} is no folder (it may be a link); remove it")
    if found.st_uid != os.getuid():
        raise MachineError(f"{path} belongs to user {found.st_uid}, not to {os.getuid()}")
    if found.st_mode & 0o077:
        raise MachineError(
            f"{path} has mode {stat.S_IMODE(found.st_mode):o} and must have 700; other users could "
            f"replace its files: `chmod 700 {path}` once you have checked what it holds"
        )
    return path


def open_private(path: Path) -> int:
    """Open a file for reading and writing, creating it; a link is not followed.

    Raises:
        OSError: If it can't be opened, or is a link.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


class LivingFile(NamedTuple):
    """A file whose process is alive.

    Attributes:
        name: Its name.
        text: Its content.
    """

    name: str
    text: str


@contextmanager
def living_file(path: Path, text: str) -> Iterator[None]:
    """Hold a file that exists, with a content, until the context or this process ends.

    The file is locked before it appears at its path, so that `living_files` never takes it for
    one that a killed process has left.
    """
    partial = path.with_name(f".{path.name}")
    descriptor = open_private(partial)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(OSError):  # without room on the disk it has no content
            os.write(descriptor, text.encode())
        partial.rename(path)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def living_files(folder: Path) -> list[LivingFile]:
    """Return the files of a folder whose processes are alive, by name; remove the others."""
    return [found for path in sorted(folder.glob("[!.]*")) if (found := _living(path)) is not None]


def _living(path: Path) -> LivingFile | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return LivingFile(path.name, file.read().decode(errors="replace"))
        path.unlink(missing_ok=True)
        return None
