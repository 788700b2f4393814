"""Experiment files as text: YAML with the line of every key, and overrides."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from tunefront.spaces import ExperimentError

from .yaml_reader import LARGEST_BYTES, RefusedYaml, parse_yaml

Key = tuple[str, ...]
LONGEST_SLUG = 200
"""Most characters of a slug: file systems take 255 bytes, and suffixes are appended."""
LONGEST_LATIN = 60
"""Most characters before the hash in the slug of a name that is not ASCII."""
_ASCII_SEPARATORS = re.compile(r"[\s!-/:-@\[-`{-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed experiment file.

    Attributes:
        path: Path of the file.
        values: Its values, with overrides applied.
        lines: Line number of every key in the file, from 1.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[Key, int]

    def place(self, key: Sequence[str | int]) -> str:
        """Return `file:line: a.b`, with the line of the key or of its nearest parent."""
        names = tuple(str(part) for part in key)
        shown = ".".join(names)
        for length in range(len(names), 0, -1):
            if names[:length] in self.lines:
                return f"{self.path}:{self.lines[names[:length]]}: {shown}"
        return f"{self.path}: {shown}" if shown else str(self.path)


def find_experiment(written: str | Path) -> Path:
    """Return the experiment file: the path itself, or `experiment.yaml` in the folder it names.

    Raises:
        ExperimentError: If the file does not exist.
    """
    path = Path(written)
    if path.is_dir():
        path = path / "experiment.yaml"
    if not path.is_file():
        raise ExperimentError(
            f"{path} does not exist; name an experiment file, or start one with `tunefront init`"
        )
    return path


def read_document(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Parse a file and apply `a.b=value` overrides.

    Raises:
        ExperimentError: If the file is too large, not UTF-8, not YAML, not a mapping, or has
            duplicate keys (with the line where known), or if an override is not valid.
    """
    try:
        root, values = parse_yaml(_content(path).decode())
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{path}: not UTF-8: {error.reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ExperimentError(f"{path}{line}: {_problem(error)}") from error
    if not isinstance(values, dict):
        raise ExperimentError(
            f"{path}: keys and values are needed, but got {type(values).__name__}"
        )
    lines: dict[Key, int] = {}
    _collect_lines(path, root, (), lines)
    for override in overrides:
        _override(values, override)
    return Document(path=path, values=values, lines=lines)


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unless it is too large for an experiment."""
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ExperimentError(
            f"{path}: an experiment file has at most {LARGEST_BYTES // 1024} kB, but this one has "
            "more; write long lists as ranges, and data into a separate file"
        )
    return content


def _problem(error: yaml.YAMLError) -> str:
    """Return what is wrong with a text, without its place."""
    problem = getattr(error, "problem", None) or str(error)
    return problem if isinstance(error, RefusedYaml) else f"not YAML: {problem}"


def _collect_lines(path: Path, node: yaml.Node | None, key: Key, lines: dict[Key, int]) -> None:
    """Collect the line of every key; reject duplicate keys, of which YAML would use the last."""
    if isinstance(node, yaml.MappingNode):
        for name_node, value_node in node.value:
            name = (*key, str(name_node.value))
            line = name_node.start_mark.line + 1
            if name in lines:
                raise ExperimentError(
                    f"{path}:{line}: {'.'.join(name)} stands twice (first in line {lines[name]}); "
                    "keep one"
                )
            lines[name] = line
            _collect_lines(path, value_node, name, lines)
    elif isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            _collect_lines(path, item, (*key, str(place)), lines)


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, written = override.partition("=")
    names = key.split(".")
    if not separator or not all(names):
        raise ExperimentError(f"--set: a.b=value is needed, but got {override!r}")
    target = values
    for name in names[:-1]:
        below = target.setdefault(name, {})
        if not isinstance(below, dict):
            raise ExperimentError(f"--set {override}: {name} holds no keys")
        target = below
    try:
        _, target[names[-1]] = parse_yaml(written)
    except yaml.YAMLError as error:
        raise ExperimentError(f"--set {override}: {_problem(error)}") from error


def slug_of(name: str) -> str:
    """Return a name as an ASCII file name: lower case, words joined by hyphens.

    A hash of the name is appended if it is not ASCII, or too long for a file name. Names of ASCII
    characters that differ in case or in punctuation only have the same slug; a record therefore
    holds the name, too.
    """
    latin = re.sub(r"[^a-z0-9]+", "-", _without_accents(name).lower()).strip("-")
    if name.isascii() and len(latin) <= LONGEST_SLUG:
        return latin or "experiment"
    same = _ASCII_SEPARATORS.sub(" ", unicodedata.normalize("NFC", name).casefold()).strip()
    digest = sha256(same.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{latin[:LONGEST_LATIN].strip('-') or 'experiment'}-{digest}"


def _without_accents(text: str) -> str:
    """Return a text with its letters' accents removed (`é` becomes `e`)."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
