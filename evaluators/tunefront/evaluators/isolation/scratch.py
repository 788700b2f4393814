"""Temporary folders of running processes; those that killed processes have left are removed."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .private_folder import living_file, living_files, private_folder, user_folder


@contextmanager
def scratch_folder(temporary: Path | None = None) -> Iterator[Path]:
    """Create an empty folder that only this user can access; remove it when the context is left.

    First the folders of processes that have ended are removed. Each folder has a locked
    file, and the kernel releases the lock however the process ends.

    Args:
        temporary: Folder for temporary files; that of the environment if None.

    Raises:
        MachineError: If other users can access the folder for temporary files of this user.
    """
    root = user_folder(temporary or Path(tempfile.gettempdir()))
    locks = private_folder(root / "scratch" / "locks")
    _remove_leftovers(locks)
    name = secrets.token_hex(4)
    folder = locks.parent / name
    with living_file(locks / name, ""):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(locks: Path) -> None:
    """Remove the folders without a locked file.

    The folders are listed first: a folder appears after its file.
    """
    folders = [path for path in locks.parent.iterdir() if path != locks]
    alive = {file.name for file in living_files(locks)}
    for folder in folders:
        if folder.name not in alive:
            shutil.rmtree(folder, ignore_errors=True)
