"""Rows of data as requests over HTTP, with their answers."""

from dataclasses import dataclass

from tunefront.evaluators.interfaces.http import HttpRequest, RequestTemplate
from tunefront.evaluators.workloads.sources.data import DataRow, data_rows, read_rows
from tunefront.evaluators.workloads.spec import ANSWER, WorkloadSpec
from tunefront.spaces import WorkloadError

from .text import json_text


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """A row of the data.

    Attributes:
        request: Its request.
        text: The values that the request has from the row, for review.
        answer: Its right answer; None if the data has none.
    """

    request: HttpRequest
    text: str
    answer: object


def has_answer_column(spec: WorkloadSpec) -> bool:
    """Return whether the first row of the data has an answer; True if it can't be read.

    A missing file can be one that the experiment prepares later; other errors are raised when the
    workload is checked.
    """
    try:
        first = read_rows(spec.path(str(spec.data)), {}, limit=1)[0]
    except WorkloadError:
        return True
    return first.get(answer_column(spec)) is not None


def answer_column(spec: WorkloadSpec) -> str:
    """Return the name of the column with the right answers."""
    return spec.columns.get(ANSWER, ANSWER)


def template_of(spec: WorkloadSpec) -> RequestTemplate:
    """Return the template of requests."""
    assert spec.request is not None  # the task needs the key
    return spec.request


def read_request_rows(spec: WorkloadSpec) -> tuple[RequestRow, ...]:
    """Return the requests of all rows.

    Raises:
        WorkloadError: If the data can't be read, a row has no value for a placeholder, or its
            request can't be sent.
    """
    template = template_of(spec)
    answers = (ANSWER,) if has_answer_column(spec) else ()
    rows = data_rows(spec, dict.fromkeys((*template.columns, *answers), object))
    return tuple(
        RequestRow(
            request=template.filled(row, spec.response, f"row {number} of {spec.data}"),
            text=_text(row, template.columns),
            answer=row[ANSWER] if answers else None,
        )
        for number, row in enumerate(rows, start=1)
    )


def request_of_row(spec: WorkloadSpec, row: DataRow) -> HttpRequest:
    """Return the request of a row that the user's quality function wrote.

    Raises:
        WorkloadError: If it has no value for a placeholder.
    """
    template = template_of(spec)
    for name in template.columns:
        if name not in row:
            raise WorkloadError(
                f"quality: {spec.quality} must call respond with rows that have "
                f"{', '.join(template.columns)}, but {name!r} is missing in {dict(row)!r}"
            )
    return template.filled(row, spec.response, f"a row of {spec.quality}")


def _text(row: DataRow, columns: tuple[str, ...]) -> str:
    if len(columns) == 1:
        return json_text(row[columns[0]])
    return ", ".join(f"{name}: {json_text(row[name])}" for name in columns)
