"""Contents of an export folder: its entries and plain files, read without following links."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, NamedTuple

BLOCK = 2**20

EntryKind = Literal["file", "folder", "link", "special"]


class Entry(NamedTuple):
    """An entry below a folder.

    Attributes:
        name: Its path relative to the folder.
        kind: What it is; `special` for a FIFO, a socket or a device.
    """

    name: str
    kind: EntryKind


def entries(folder: Path) -> Iterator[Entry]:
    """Yield every entry below a folder by name, a folder before its entries; follow no link."""
    return _below(folder, PurePosixPath())


def _below(folder: Path, name: PurePosixPath) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        here = sorted(found, key=lambda entry: entry.name)
    for entry in here:
        kind = _kind(entry)
        yield Entry(str(name / entry.name), kind)
        if kind == "folder":
            yield from _below(folder / entry.name, name / entry.name)


def _kind(entry: "os.DirEntry[str]") -> EntryKind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "special"


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file for reading; a FIFO does not block.

    Raises:
        OSError: If it can't be opened, or is a link or anything else than a plain file.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags), "rb")


def read_plain(path: Path) -> bytes:
    """Read a plain file.

    Raises:
        OSError: If it can't be read, or is a link or anything else than a plain file.
    """
    with open_plain(path) as stream:
        return stream.read()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a plain file, as hexadecimal digits.

    Raises:
        OSError: If it can't be read, or is a link or anything else than a plain file.
    """
    digest = hashlib.sha256()
    with open_plain(path) as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def shown_name(name: str) -> str:
    """Return a file's name for messages: escaped if it holds control or undecodable characters."""
    return name if name.isprintable() else ascii(name)
