"""Traces: when requests have arrived somewhere, and how long they were, from a file."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from tunefront.spaces import WorkloadError, did_you_mean

_EXAMPLE = '{"at_s": 0.5, "input_tokens": 200, "output_tokens": 40}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A row of a trace.

    Attributes:
        at_s: Seconds from the first request to this one.
        input_tokens: Tokens of the prompt; None if the row has no number.
        output_tokens: Tokens of the response; None if the row has no number.
    """

    at_s: float
    input_tokens: int | None = None
    output_tokens: int | None = None


def read_trace(path: Path) -> tuple[Arrival, ...]:
    """Read the rows of a trace, one JSON object on a line.

    Raises:
        WorkloadError: If the file can't be read, has fewer than two times, or a row is invalid; the
            message names the row.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(
            f"load.trace: {path} can't be read: {error}; name a .jsonl file with a row such as "
            f"{_EXAMPLE} for each request"
        ) from error
    written = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    rows = [_row(line, f"load.trace: {path}: row {number}") for number, line in written]
    places = [f"load.trace: {path}: row {number}" for number, _ in written]
    for place, before, row in zip(places[1:], rows, rows[1:], strict=False):
        if row.at_s < before.at_s:
            raise WorkloadError(
                f"{place}: at_s must not be before that of the row above, {before.at_s:g}, but got "
                f"{row.at_s:g}; sort the rows by time"
            )
    if len(rows) < 2 or rows[-1].at_s == rows[0].at_s:
        raise WorkloadError(
            f"load.trace: {path}: requests at two different times are needed at least, but got "
            f"{len(rows)} at the same; add rows, or write concurrency"
        )
    return tuple(_since(row, rows[0].at_s) for row in rows)


def _since(row: Arrival, start_s: float) -> Arrival:
    return Arrival(
        at_s=row.at_s - start_s, input_tokens=row.input_tokens, output_tokens=row.output_tokens
    )


def _row(line: str, place: str) -> Arrival:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise WorkloadError(f"{place}: not JSON ({error.msg}); write {_EXAMPLE}") from error
    if not isinstance(found, dict) or "at_s" not in found:
        raise WorkloadError(
            f"{place}: an object with at_s is needed, such as {_EXAMPLE}, but got {line.strip()}"
        )
    for problem in _problems(found):
        raise WorkloadError(f"{place}: {problem}")
    return Arrival(**found)


def _problems(row: dict[str, object]) -> Iterator[str]:
    """Yield what is wrong with the values of a row."""
    known = [field.name for field in fields(Arrival)]
    for name, value in row.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in known:
            yield f"unknown key {name!r}{did_you_mean(name, known)}"
        elif name == "at_s" and not (number and math.isfinite(float(str(value)))):
            yield f"at_s must be a number of seconds, but got {value!r}"
        elif name != "at_s" and value is not None and not (type(value) is int and value >= 1):
            yield f"{name} must be a whole number from 1, but got {value!r}; or leave the key out"
