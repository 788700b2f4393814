"""The files that a user's code reads, observed while it runs in this process."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_INSTALLED = tuple(os.path.realpath(place) + os.sep for place in (sys.prefix, sys.base_prefix))
"""Where libraries are installed, which can be below a user's folder."""


class _Observer:
    """Collects the files that this process opens for reading below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder.resolve()) + os.sep
        self.paths: set[Path] = set()

    def opened(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Receive an audit event (PEP 578)."""
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, _, flags = arguments
            if not isinstance(flags, int) or flags & os.O_ACCMODE == os.O_RDONLY:
                self.add(os.fsdecode(path))

    def add(self, path: str) -> None:
        """Keep a path if it is below the folder."""
        found = os.path.realpath(path)
        own = found.startswith(self._folder) and not found.startswith(_INSTALLED)
        if own and "__pycache__" not in found.split(os.sep):
            self.paths.add(Path(found))


_observers: list[_Observer] = []
_installed = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    for observer in _observers:
        observer.opened(event, arguments)


@contextmanager
def files_read(folder: Path) -> Iterator[set[Path]]:
    """Collect the files below `folder` that are opened for reading, and imported modules there.

    Python's own functions and safetensors are observed; libraries that open files in C++ or Rust
    otherwise are not. The set is complete when the context has closed.
    """
    global _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True
    observer = _Observer(folder)
    _observers.append(observer)
    try:
        with _safetensors_observed(observer.add):
            yield observer.paths
    finally:
        _observers.remove(observer)
        for module in list(sys.modules.values()):
            if source := getattr(module, "__file__", None):
                observer.add(str(source))
        observer.paths.intersection_update({path for path in observer.paths if path.is_file()})


@contextmanager
def _safetensors_observed(add: Callable[[str], None]) -> Iterator[None]:
    """Report the files that safetensors opens, which it does without Python."""
    try:
        import safetensors
        import safetensors.torch
    except ImportError:
        yield
        return
    plain: Any = safetensors.safe_open

    def observed(filename: Any, *arguments: Any, **named: Any) -> Any:
        add(os.fsdecode(filename))
        return plain(filename, *arguments, **named)

    places: tuple[Any, ...] = (safetensors, safetensors.torch)
    for place in places:
        place.safe_open = observed
    try:
        yield
    finally:
        for place in places:
            place.safe_open = plain
