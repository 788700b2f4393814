"""Readers of data files: jsonl, csv, parquet and plain text; errors name file and line."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tunefront.evaluators.workloads.spec import WorkloadSpec
from tunefront.spaces import WorkloadError

DataRow = Mapping[str, object]
LEAST_ROWS = 2
"""Fewest rows of a workload's data."""
SUFFIXES = (".jsonl", ".csv", ".parquet", ".txt")


def read_rows(
    path: Path,
    columns: Mapping[str, type],
    limit: int | None = None,
    names: Mapping[str, str] | None = None,
) -> list[DataRow]:
    """Read and validate the rows of a data file.

    Args:
        path: A .jsonl, .csv, .parquet or .txt file. A text file has a row `{"text": ...}` for each
            paragraph (paragraphs are separated by blank lines).
        columns: Columns that every row must have, with their types (`str`, `int`, `float`, or
            `object` for any).
        limit: Maximum number of rows.
        names: Name of a column in the file where it differs from that in `columns`.

    Raises:
        WorkloadError: If the file is missing, empty or of an unknown format, or a row is invalid;
            the message names file, line and column.
    """
    if not path.is_file():
        raise WorkloadError(f"data: {path} is not a file; workload.data must name one that exists")
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet, ".txt": _text}
    if path.suffix not in readers:
        raise WorkloadError(f"data: {path}: one of {', '.join(SUFFIXES)} is needed")
    rows: list[DataRow] = []
    for line, row in readers[path.suffix](path):
        rows.append(_checked(path, line, row, columns, names or {}))
        if limit is not None and len(rows) == limit:
            break
    if not rows:
        raise WorkloadError(f"data: {path} holds no rows; at least one is needed")
    return rows


def data_rows(spec: WorkloadSpec, columns: Mapping[str, type]) -> list[DataRow]:
    """Read the rows of a workload's data; see `read_rows`.

    Raises:
        WorkloadError: Also if there are fewer than `LEAST_ROWS`.
    """
    path = spec.path(str(spec.data))
    rows = read_rows(path, columns, limit=spec.items, names=spec.columns)
    if len(rows) < LEAST_ROWS:
        raise WorkloadError(
            f"data: {path}: at least {LEAST_ROWS} rows are needed, so that a quality has an "
            f"interval, but got {len(rows)}"
        )
    return rows


def _checked(
    path: Path, line: int, row: object, columns: Mapping[str, type], names: Mapping[str, str]
) -> DataRow:
    if not isinstance(row, dict):
        raise WorkloadError(f"data: {path}:{line}: an object with {', '.join(columns)} is needed")
    checked = dict(row)
    for name, kind in columns.items():
        written = names.get(name, name)
        value = row.get(written)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise WorkloadError(
                f"data: {path}:{line}: column {written!r} is "
                + ("blank" if written in row else f"missing; {_mapping_hint(name, row)}")
            )
        whole = isinstance(value, kind) and (kind is object or not isinstance(value, bool))
        checked[name] = value if whole else _converted(path, line, written, value, kind)
    return checked


def _mapping_hint(name: str, row: Mapping[str, object]) -> str:
    """Return which columns a row has, and how to name another one."""
    there = [str(column) for column in row]
    return (
        f"the columns are {', '.join(there)}; name the right one with "
        f"workload.columns: {{{name}: {there[0] if there else '...'}}}"
    )


def _converted(path: Path, line: int, name: str, value: object, kind: type) -> object:
    """Convert a number that is stored as text, as in csv files, or as the other number type.

    Raises:
        WorkloadError: If the value has any other wrong type.
    """
    if kind is not str and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if kind is float and number == number:
            return number
        if kind is int and number == number and number == int(number):
            return int(number)
    raise WorkloadError(
        f"data: {path}:{line}: column {name!r} must be {kind.__name__}, but got {value!r}"
    )


def _jsonl(path: Path) -> Iterator[tuple[int, object]]:
    with path.open(encoding="utf-8-sig", errors="strict") as lines:
        number = 0
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise WorkloadError(f"data: {path}:{number}: not JSON: {error.msg}") from error
        except UnicodeDecodeError as error:
            raise WorkloadError(f"data: {path}:{number + 1}: not UTF-8: {error.reason}") from error


def _csv(path: Path) -> Iterator[tuple[int, object]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        try:
            for row in reader:
                if None in row:
                    raise WorkloadError(
                        f"data: {path}:{reader.line_num}: more fields than the header names"
                    )
                yield reader.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise WorkloadError(f"data: {path}:{reader.line_num + 1}: not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[int, object]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise WorkloadError(
            f"data: {path}: pyarrow is needed to read parquet; pip install 'tunefront[hf]'"
        ) from error
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise WorkloadError(f"data: {path}: not parquet: {error}") from error
    yield from enumerate(table.to_pylist(), start=1)


def _text(path: Path) -> Iterator[tuple[int, object]]:
    start, block = 1, list[str]()
    try:
        lines: Sequence[str] = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise WorkloadError(f"data: {path}: not UTF-8: {error}") from error
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            start = start if block else number
            block.append(line)
        elif block:
            yield start, {"text": "\n".join(block)}
            block = []
