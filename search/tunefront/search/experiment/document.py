"""Experiment files as text: YAML with the line of every key, and overrides."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunefront.spaces import ExperimentError

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed experiment file.

    Attributes:
        path: Path of the file.
        values: Its values, with overrides applied.
        lines: Line number of every key in the file, from 1.
        overridden: Keys that were overridden with `--set`.
    """

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[Key, int]
    overridden: frozenset[Key] = frozenset()

    def place(self, key: Sequence[str | int]) -> str:
        """Return `file:line: a.b`, with the line of the key or of its nearest parent.

        For a key that was overridden with `--set`, or is below one, return `--set a.b`.
        """
        names = tuple(str(part) for part in key)
        shown = ".".join(names)
        for length in range(len(names), 0, -1):
            if names[:length] in self.overridden:
                return f"--set {shown}"
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
        ExperimentError: If the file is not UTF-8, not YAML, not a mapping, or has duplicate keys
            (with the line where known), or if an override is not valid.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise ExperimentError(f"{path}: not UTF-8: {error.reason}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ExperimentError(f"{path}{line}: not YAML: {problem}") from error
    if not isinstance(values, dict):
        raise ExperimentError(
            f"{path}: keys and values are needed, but got {type(values).__name__}"
        )
    lines: dict[Key, int] = {}
    _collect_lines(path, root, (), lines)
    for override in overrides:
        _override(values, override)
    overridden = frozenset(tuple(one.partition("=")[0].split(".")) for one in overrides)
    return Document(path=path, values=values, lines=lines, overridden=overridden)


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
        target[names[-1]] = yaml.safe_load(written)
    except yaml.YAMLError as error:
        raise ExperimentError(f"--set {override}: not YAML: {error}") from error


def slug_of(name: str) -> str:
    """Return a name as a file name: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "experiment"
