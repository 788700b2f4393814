"""The built-in extensions, and those that users add: files of an experiment, and entry points.

An installed package adds extensions by the entry point group `tunefront.extensions`; each entry
names an `Extension`, or a sequence of them. A file adds every `Extension` that it defines at module
level.
"""

import importlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from tunefront.spaces import (
    EXPERIMENT,
    SHARED,
    Catalog,
    ExperimentError,
    Extension,
    declared_kind,
    named_error,
)

from .runtimes.inductor.extension import EXTENSION as _INDUCTOR
from .runtimes.onnxruntime.extension import EXTENSION as _ONNXRUNTIME
from .runtimes.onnxruntime_genai.extension import EXTENSION as _ONNXRUNTIME_GENAI
from .runtimes.openvino.extension import EXTENSION as _OPENVINO
from .runtimes.openvino_genai.extension import EXTENSION as _OPENVINO_GENAI
from .runtimes.server.extension import EXTENSION as _SERVER
from .runtimes.torch.extension import EXTENSION as _TORCH
from .runtimes.transformers.extension import EXTENSION as _TRANSFORMERS
from .techniques.extension import EXTENSIONS as _TECHNIQUES
from .workloads.extension import EXTENSIONS as _WORKLOADS

GROUP = "tunefront.extensions"
"""Entry point group of installed packages."""

BUILTIN: tuple[Extension, ...] = (
    *SHARED,
    *_WORKLOADS,
    *_TECHNIQUES,
    _TORCH,
    _INDUCTOR,
    _TRANSFORMERS,
    _ONNXRUNTIME,
    _ONNXRUNTIME_GENAI,
    _OPENVINO,
    _OPENVINO_GENAI,
    _SERVER,
)
"""The built-in extensions; add one as one line here."""


@cache
def builtin_catalog() -> Catalog:
    """Return the catalogue of the built-in and the installed extensions."""
    return Catalog((*BUILTIN, *installed_extensions()))


def catalog_of(
    files: tuple[str, ...] = (), declared: Mapping[str, Mapping[str, object]] | None = None
) -> Catalog:
    """Return the catalogue with the extensions of some files and declared choices in addition.

    Args:
        files: Absolute paths of Python files.
        declared: Choices that an experiment declares, as written; see `declared_kind`.

    Raises:
        ExperimentError: If a file can't be imported or defines no extension.
        SpaceError: If a declaration is invalid, or extensions contradict each other.
    """
    return _catalog(files, json.dumps(declared or {}, sort_keys=True))


@lru_cache(maxsize=32)
def _catalog(files: tuple[str, ...], declared: str) -> Catalog:
    kinds = tuple(declared_kind(name, one) for name, one in json.loads(declared).items())
    added = [one for file in files for one in extensions_in(Path(file))]
    if kinds:
        added.append(Extension(name=EXPERIMENT, choices=kinds, origin="the experiment"))
    return builtin_catalog().extended(*added) if added else builtin_catalog()


def installed_extensions() -> tuple[Extension, ...]:
    """Return the extensions that installed packages offer as entry points.

    Raises:
        ExperimentError: If an entry point is not an `Extension` or a sequence of them.
    """
    found: list[Extension] = []
    for entry in entry_points(group=GROUP):
        offered = entry.load()
        several = list(offered) if isinstance(offered, Sequence) else [offered]
        if not all(isinstance(one, Extension) for one in several):
            raise ExperimentError(
                f"entry point {entry.name} = {entry.value} of {GROUP} must be an Extension or a "
                f"sequence of them, but got {type(offered).__name__}"
            )
        origin = f"package {entry.dist.name}" if entry.dist is not None else entry.value
        found += [replace(one, origin=origin) for one in several]
    return tuple(found)


def extensions_in(file: Path) -> tuple[Extension, ...]:
    """Import a file and return the extensions that it defines at module level.

    Its folder is added to the end of the import path, so that `provides` can name its modules and
    none of them hides an installed one.

    Raises:
        ExperimentError: If it can't be imported, its name is taken, or it defines no extension.
    """
    module = _imported(file)
    found = tuple(one for one in vars(module).values() if isinstance(one, Extension))
    if not found:
        raise ExperimentError(
            f"extensions: {file} defines no Extension at module level; add e.g. "
            "EXTENSION = Extension(name=..., ...)"
        )
    return tuple(replace(one, origin=file.name) for one in found)


def _imported(file: Path) -> ModuleType:
    if not file.is_file() or file.suffix != ".py":
        raise ExperimentError(f"extensions: {file} is not a Python file; name an existing .py file")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        module = importlib.import_module(file.stem)
    except Exception as error:  # a user's file can raise anything
        raise ExperimentError(
            f"extensions: {file} can't be imported: {named_error(error)}"
        ) from error
    known = Path(str(module.__file__))
    if known.resolve() != file.resolve() and known.read_bytes() != file.read_bytes():
        raise ExperimentError(
            f"extensions: {file}: the name {file.stem} is taken by {known}; rename the file"
        )
    return module


def content_of_extensions(files: Iterable[str]) -> str:
    """Return a hash of the content of extension files and of Python files next to them.

    Empty without files. It is part of the keys of everything that an extension can change.
    """
    digest = sha256()
    paths = {path for file in files for path in Path(file).parent.glob("*.py")}
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16] if paths else ""
