"""Data files: encodings, columns, blank values; errors name file, line and column."""

from dataclasses import replace
from pathlib import Path

import pytest

from tunefront.evaluators import WorkloadSpec
from tunefront.evaluators.workloads.sources.data import data_rows, read_rows
from tunefront.spaces import WorkloadError

BOM = "\ufeff"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", '{"text": "one"}\n{"text": "two"}\n'),
        ("rows.csv", "text\none\ntwo\n"),
        ("rows.txt", "one\n\ntwo\n"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_data(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(BOM + content, encoding="utf-8")
    assert [row["text"] for row in read_rows(path, {"text": str})] == ["one", "two"]


def test_columns_of_other_names_are_found(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("sentence,sentiment\ngood,1\nbad,0\n")
    spec = WorkloadSpec(
        task="text-classification",
        model="m",
        folder=str(tmp_path),
        data="rows.csv",
        columns={"text": "sentence", "label": "sentiment"},
    )
    row, _ = data_rows(spec, {"text": str, "label": object})
    assert (row["text"], row["label"]) == ("good", "1")
    told = "at least 2 rows are needed, so that a quality has an interval, but got 1"
    with pytest.raises(WorkloadError, match=told):
        data_rows(replace(spec, items=1), {"text": str, "label": object})


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("sentence,sentiment\ngood,1\n")
    told = (
        r"rows\.csv:2: column 'text' is missing; the columns are sentence, sentiment; "
        r"name the right one with workload\.columns: \{text: sentence\}"
    )
    with pytest.raises(WorkloadError, match=told):
        read_rows(path, {"text": str})


@pytest.mark.parametrize("blank", ["", " \\t "])
def test_a_blank_text_is_named(blank: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": "one"}}\n{{"text": "{blank}"}}\n')
    with pytest.raises(WorkloadError, match=r"rows\.jsonl:2: column 'text' is blank"):
        read_rows(path, {"text": str})


def test_a_column_that_the_task_does_not_have_is_refused() -> None:
    told = r"columns: task text-embedding has query, document, but got 'querry'; did you mean"
    with pytest.raises(WorkloadError, match=told):
        WorkloadSpec(
            task="text-embedding", model="m", folder="/", data="d", columns={"querry": "question"}
        )
