"""Eviction: the least recently used products are removed until the store is below its limit.

Products used within the last hour stay, because a reader can have received the path just before
locking it; locked products stay too. Removal is atomic: a product is renamed first, then deleted.
"""

import contextlib
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunefront.evaluators.statistics.formatting import number_text
from tunefront.spaces import CacheError, EvaluationError

from .disk import free_bytes, total_bytes
from .locks import lock_of, locked

LIMIT = "TUNEFRONT_CACHE_LIMIT_GB"
GB = 2**30
"""Bytes of a GB, in this module and in the sizes that users write."""
LIMIT_GB = 50.0
DISK_SHARE = 0.25
"""The default limit is the smaller of `LIMIT_GB` and this share of the disk."""
RECENT_S = 3600.0
ABANDONED_S = 24 * 3600.0
EVERY_S = 60.0
_STAMP = ".tidied"
_GONE = ".gone-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product in the store.

    Attributes:
        path: Its folder.
        size: Size of its files in bytes.
        used: When it was built or last found, in seconds since the epoch.
    """

    path: Path
    size: int
    used: float


def cache_limit(root: Path) -> int:
    """Return the size limit in bytes of the store at `root`: `TUNEFRONT_CACHE_LIMIT_GB` or default.

    Raises:
        CacheError: If the environment variable is not a finite number above 0.
    """
    written = os.environ.get(LIMIT)
    if written is None:
        return int(min(LIMIT_GB * GB, DISK_SHARE * total_bytes(root)))
    try:
        limit = float(written)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise CacheError(f"{LIMIT}: a number of GB above 0 is needed, but got {written!r}")
    return int(limit * GB)


def shelves(root: Path) -> list[Path]:
    """Return the folders below a store's root that contain products."""
    return [path for path in root.glob("[!.]*") if path.is_dir()]


def products(places: Iterable[Path]) -> list[Product]:
    """Return the products in some folders, the least recently used first."""
    found: list[Product] = []
    for path in (path for place in places for path in place.glob("[!.]*")):
        with contextlib.suppress(FileNotFoundError):  # another process can evict it meanwhile
            used = path.stat().st_mtime
            found.append(Product(path=path, size=size_of(path), used=used))
    return sorted(found, key=lambda product: product.used)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; files removed meanwhile are 0."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def tidy(root: Path) -> None:
    """Evict down to the limit; at most once a minute for all processes together.

    Raises:
        CacheError: If the limit in the environment is not a finite number above 0.
    """
    limit, stamp = cache_limit(root), root / _STAMP
    with contextlib.suppress(OSError):  # a store that can't be written can still be read
        if not stamp.exists() or abs(time.time() - stamp.stat().st_mtime) >= EVERY_S:
            stamp.touch()
            evict(root, limit)


def evict(
    root: Path, limit: int, *, unused_s: float = RECENT_S, abandoned_s: float = ABANDONED_S
) -> list[Product]:
    """Remove products until the rest takes at most `limit` bytes, or no other can be removed.

    Args:
        root: The store's root.
        limit: Bytes that can stay.
        unused_s: Products used within this many seconds are not removed.
        abandoned_s: Age in seconds above which an unfinished product is removed, if no process is
            building it.

    Returns:
        The removed products.
    """
    places = shelves(root)
    listed = products(places)
    left = sum(product.size for product in listed)
    gone: list[Product] = []
    for product in listed:
        if left <= limit:
            break
        if _remove(product.path, lock_of(product.path), unused_s):
            left -= product.size
            gone.append(product)
    _sweep(places, abandoned_s)
    return gone


def clear(places: Sequence[Path]) -> list[Product]:
    """Remove every product in some folders that is not locked; return the removed products."""
    gone = [p for p in products(places) if _remove(p.path, lock_of(p.path), 0.0)]
    _sweep(places, 0.0)
    return gone


def make_room(root: Path, needed: int) -> None:
    """Ensure that `needed` bytes are free on the store's disk; evict products if they are not.

    Raises:
        EvaluationError: With the cause "disk full", if eviction does not free enough.
    """
    free = free_bytes(root)
    if free < needed:
        size = sum(product.size for product in products(shelves(root)))
        evict(root, int(size - (needed - free)), abandoned_s=RECENT_S)
        free = free_bytes(root)
    if free < needed:
        free_gb, needed_gb = number_text(free / GB), number_text(needed / GB)
        raise EvaluationError(
            f"{root}: {free_gb} GB are free, {needed_gb} GB are needed to build; "
            "free some space there, or make the cache smaller with `tunefront cache --limit SIZE`",
            cause="disk full",
        )


def _remove(folder: Path, lock: Path, unused_s: float) -> bool:
    """Remove a folder atomically unless it is locked or was used within `unused_s` seconds.

    Returns whether it was removed.
    """
    gone = folder.with_name(f"{_GONE}{folder.name}-{uuid.uuid4().hex[:8]}")
    with contextlib.suppress(OSError), locked(lock, wait=False) as held:
        if not held or (unused_s and folder.stat().st_mtime > time.time() - unused_s):
            return False
        folder.rename(gone)
        lock.unlink()
    if not gone.is_dir():
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _sweep(places: Iterable[Path], abandoned_s: float) -> None:
    """Remove leftovers: unfinished products, unfinished removals, and locks without a product."""
    for path in (path for place in places for path in place.glob(".*")):
        if path.name.startswith(_GONE):
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == ".lock":
            _remove_lock(path)
        elif path.is_dir():
            key = path.name[1:].rpartition("-")[0] or path.name[1:]
            _remove(path, lock_of(path.with_name(key)), abandoned_s)


def _remove_lock(lock: Path) -> None:
    product = lock.with_name(lock.name[1:].removesuffix(".lock"))
    with contextlib.suppress(OSError), locked(lock, wait=False) as held:
        if held and not product.exists():
            lock.unlink()
