"""What stages produced, kept by key: folders that are whole or not there.

A key names everything that the product depends on; the folder is filled under a temporary name and
renamed, so a hit is exact and a half-built product is never found. The store has a size limit: what
was not used for longest is forgotten first (eviction.py).
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tunefront.spaces import Hardware

from .eviction import tidy
from .locks import in_use, lock_of, locked

STORE_FORMAT = 4
"""Changes whenever what stages leave behind changes its form; it is part of every key."""
HASHED_WHOLE = 2**30
"""Files up to this many bytes are hashed whole; of larger ones size, time and both ends count."""


def cache_folder() -> Path:
    """Where products are kept: `TUNEFRONT_CACHE`, or `tunefront` in the user's cache folder."""
    if written := os.environ.get("TUNEFRONT_CACHE"):
        return Path(written).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "tunefront"


def stages_folder() -> Path:
    """The root of the store that searches share."""
    return cache_folder() / "stages"


def prepared_folder() -> Path:
    """Where what `prepare` scripts made is kept."""
    return cache_folder() / "prepared"


class Store:
    """Folders by key below one root; safe for several processes at once.

    Args:
        root: Where the folders lie; made when the first one is.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where the product of that key is, or will be."""
        return self.root / key[:2] / key

    def find(self, key: str) -> Path | None:
        """The product's folder, if there is one; to ask is to use it."""
        path = self.path(key)
        return path if _renewed(path) else None

    def get_or_make(self, key: str, make: Callable[[Path], None]) -> Path:
        """The product's folder; `make` fills an empty one where there is none yet."""
        path = self.path(key)
        if make_once(path, make):
            tidy(self.root)
        return path

    @contextmanager
    def held(self, key: str, make: Callable[[Path], None]) -> Iterator[Path]:
        """`get_or_make`, and nobody evicts the product meanwhile."""
        while True:
            path = self.get_or_make(key, make)
            with in_use(path):
                if path.is_dir():  # and not evicted a moment ago
                    yield path
                    return


def make_once(path: Path, make: Callable[[Path], None]) -> bool:
    """See to it that a folder is there, whole; whether `make` had to fill it."""
    if _renewed(path):
        return False
    with locked(lock_of(path)):
        if path.is_dir():
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
    """Whether a product is there; if so, it counts as used now."""
    try:
        os.utime(path)
    except OSError:  # another user's, or one on a disk that can't be written, serves as well
        return path.is_dir()
    return True


def key_of(**parts: object) -> str:
    """A key made of plain JSON values; equal parts give equal keys."""
    text = json.dumps({"format": STORE_FORMAT, **parts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def environment_of(hardware: Hardware) -> Mapping[str, object]:
    """What products depend on beside choices and workload: machine and library versions."""
    return {"hardware": hardware.fingerprint, "libraries": dict(hardware.libraries)}


def fingerprint_of(paths: tuple[Path, ...]) -> str:
    """The content of files and folders as one short text; where they lie doesn't count."""
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
