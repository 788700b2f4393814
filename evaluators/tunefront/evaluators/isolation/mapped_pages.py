"""Pages of files that a process has in its page tables, and how a forked process gets them, too.

A fork copies the page tables of private memory, but not those of unchanged pages of files, such as
the code of libraries. A forked process maps them again when it uses them; until then its resident
memory is smaller than that of a process that imported the same libraries itself.
"""

import ctypes
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

PageRange = tuple[int, int]
"""Address of the first page, and length in bytes."""

PAGE_MAP = Path("/proc/self/pagemap")
_POPULATE_READ = 22
"""MADV_POPULATE_READ of Linux 5.14; earlier kernels refuse it, and nothing is mapped."""
_ENTRY = 8
"""Bytes of an entry of the page map; its highest bit marks a mapped page."""
_MAPPED = bytes(value >> 7 for value in range(256))
_RUN = re.compile(b"\x01+")


def mapped_pages() -> Sequence[PageRange]:
    """Return the pages of files that this process has mapped; empty if /proc does not show them."""
    try:
        return list(_mapped_pages())
    except OSError:
        return ()


def map_pages(ranges: Sequence[PageRange]) -> None:
    """Map pages of files, as reading them would; those that can't be read are left out."""
    madvise = ctypes.CDLL(None).madvise
    for first, length in ranges:
        madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _POPULATE_READ)


def _mapped_pages() -> Iterator[PageRange]:
    page = os.sysconf("SC_PAGE_SIZE")
    with PAGE_MAP.open("rb", buffering=0) as entries:
        for line in Path("/proc/self/maps").read_text().splitlines():
            addresses, access, _, _, inode, *_ = line.split(maxsplit=5)
            if inode == "0" or not access.startswith("r"):
                continue
            first, end = (int(address, 16) for address in addresses.split("-"))
            size = (end - first) // page * _ENTRY
            found = os.pread(entries.fileno(), size, first // page * _ENTRY)
            for run in _RUN.finditer(found[_ENTRY - 1 :: _ENTRY].translate(_MAPPED)):
                yield first + run.start() * page, (run.end() - run.start()) * page
