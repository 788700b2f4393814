"""The store: products of stages under exact keys, as folders that are complete or absent.

A key covers everything that the product depends on. The folder is filled under a temporary name and
then renamed, so a hit is exact and an unfinished product is never found. The store has a size
limit; the least recently used products are evicted first (eviction.py).
"""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tunefront.spaces import Hardware, MachineError

from .eviction import tidy
from .locks import in_use, lock_of, locked

STORE_FORMAT = 6
"""Version of the format of stage products, part of every key; raise it when the format changes."""
HASHED_WHOLE = 2**30
"""Largest file, in bytes, that is hashed completely.

Of a larger file the size, the modification time, and the first and last 2**20 bytes are hashed.
"""

SHARED_CACHE = "TUNEFRONT_SHARED_CACHE"
"""Environment variable that lets products of other users be used, with the value 1."""


def cache_folder() -> Path:
    """Return the cache folder: `TUNEFRONT_CACHE`, or `tunefront` in the user's cache folder."""
    if written := os.environ.get("TUNEFRONT_CACHE"):
        return Path(written).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "tunefront"


def stages_folder() -> Path:
    """Return the root of the store that all searches share."""
    return cache_folder() / "stages"


def prepared_folder() -> Path:
    """Return the folder for the output of `prepare` scripts."""
    return cache_folder() / "prepared"


class Store:
    """Product folders by key below one root; safe for concurrent processes.

    Args:
        root: The root folder; created with the first product.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Return the path of the product with that key, whether it exists or not."""
        return self.root / key[:2] / key

    def find(self, key: str) -> Path | None:
        """Return the product's folder if it exists, and mark it as used now.

        Raises:
            MachineError: If it belongs to another user; see `check_owner`.
        """
        path = self.path(key)
        return path if _renewed(path) else None

    def get_or_make(self, key: str, make: Callable[[Path], None]) -> Path:
        """Return the product's folder; if there is none, `make` fills an empty one first.

        Raises:
            MachineError: If it belongs to another user; see `check_owner`.
        """
        path = self.path(key)
        if make_once(path, make):
            tidy(self.root)
        return path

    @contextmanager
    def held(self, key: str, make: Callable[[Path], None]) -> Iterator[Path]:
        """Get or make a product, and lock it against eviction while the context is open."""
        while True:
            path = self.get_or_make(key, make)
            with in_use(path):
                if path.is_dir():  # it can have been evicted before it was locked
                    yield path
                    return


def make_once(path: Path, make: Callable[[Path], None]) -> bool:
    """Ensure that a complete folder exists; return whether `make` had to fill it.

    Raises:
        MachineError: If it belongs to another user; see `check_owner`.
    """
    if _renewed(path):
        return False
    with locked(lock_of(path)):
        if _renewed(path):
            return False
        try:
            _make(path, make)
        except BaseException:
            lock_of(path).unlink(missing_ok=True)
            raise
    return True


def _make(path: Path, make: Callable[[Path], None]) -> None:
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        make(made)
        os.utime(made)
        made.rename(path)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _renewed(path: Path) -> bool:
    """Mark a product as used now; return whether it exists."""
    check_owner(path)
    try:
        os.utime(path)
    except OSError:  # products of other users or on a read-only disk can be read all the same
        return path.is_dir()
    return True


def check_owner(path: Path) -> None:
    """Check that a product, if it exists, was made by this user: opening a model can run code.

    Raises:
        MachineError: If it belongs to another user and `TUNEFRONT_SHARED_CACHE` is not 1, or if it
            is a link.
    """
    try:
        found = path.lstat()
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise MachineError(f"{path} in the cache is a link, not a product; remove it")
    if found.st_uid != os.getuid() and os.environ.get(SHARED_CACHE) != "1":
        raise MachineError(
            f"{path} in the cache was made by user {found.st_uid}, and opening what another user "
            f"made can run that user's code; name a cache of this user with TUNEFRONT_CACHE, or "
            f"set {SHARED_CACHE}=1 if all users of this cache are trusted"
        )


def key_of(**parts: object) -> str:
    """Return a key for plain JSON values; equal parts give equal keys."""
    text = json.dumps({"format": STORE_FORMAT, **parts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def environment_of(hardware: Hardware) -> Mapping[str, object]:
    """Return what products depend on besides choices and workload.

    That is the machine, the versions of libraries, and the environment variables that they read.
    """
    return {
        "hardware": hardware.fingerprint,
        "libraries": dict(hardware.libraries),
        "variables": dict(hardware.variables),
    }


def fingerprint_of(paths: tuple[Path, ...]) -> str:
    """Return a hash of the content of files and folders, independent of where they are.

    Names relative to a folder are part of the hash.
    """
    digest = hashlib.sha256()
    for root in paths:
        files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]
        for file in files:
            name = file.relative_to(root) if root.is_dir() else file.name
            digest.update(str(name).encode())
            _hash_file(file, digest.update)
    return digest.hexdigest()[:16]


def _hash_file(file: Path, update: Callable[[bytes], None]) -> None:
    status = file.stat()
    with file.open("rb") as stream:
        if status.st_size <= HASHED_WHOLE:
            while block := stream.read(2**20):
                update(block)
            return
        update(f"{status.st_size} {status.st_mtime_ns}".encode())
        update(stream.read(2**20))
        stream.seek(-(2**20), os.SEEK_END)
        update(stream.read())
