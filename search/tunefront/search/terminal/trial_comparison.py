"""Output of a comparison of trials: tables, JSON values and CSV."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tunefront.evaluators.statistics.formatting import (
    interval_text,
    number_text,
    ratio_text,
    value_text,
    with_unit,
)
from tunefront.search.results.rows import trial_record
from tunefront.search.results.trial_comparison import (
    ItemRow,
    MetricRow,
    TrialComparison,
    TrialRow,
    difference_text,
)
from tunefront.search.text import counted, one_line

if TYPE_CHECKING:
    from rich.table import Table


def comparison_table(comparison: TrialComparison) -> "Table":
    """Build the table of differences: choices, read-back, measurements with interval and ratio.

    Ratios are those to the first trial.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for trial in comparison.trials:
        table.add_column(Text(trial.name()), overflow="fold")
    for row in _differing([*comparison.choices, *comparison.facts]):
        table.add_row(row.name, *map(Text, row.cells))
    for found in comparison.metrics:
        if found.differs:
            cells = [_metric_cell(found, place) for place in range(len(found.cells))]
            table.add_row(_named(found), *map(Text, cells))
    return table


def _differing(rows: Iterable[TrialRow]) -> list[TrialRow]:
    return [row for row in rows if row.differs]


def _named(row: MetricRow) -> str:
    """Format a metric's name, followed by its unit unless the name ends in it."""
    unit = row.metric.unit
    shown = unit and not row.metric.name.endswith(f"_{unit.lower()}")
    return f"{row.metric.name}\n{unit}" if shown else row.metric.name


def _metric_cell(row: MetricRow, place: int) -> str:
    """Format a measurement, `164 (4.4x higher)`; in a second line its interval, `160 to 168`."""
    found, ratio = row.cells[place], row.ratio(place)
    if found is None:
        return "-"
    text = value_text(found)
    if place and ratio is not None and (against := ratio_text(ratio)):
        text += f" ({against})"
    return "\n".join(filter(None, [text, interval_text(found)]))


def equal_line(comparison: TrialComparison) -> str:
    """Format what all compared trials have in common; empty if nothing."""
    rows = [row for row in (*comparison.choices, *comparison.facts) if not row.differs]
    parts = [f"{row.name} {row.cells[0]}" for row in rows if row.cells[0] != "-"]
    parts += [
        f"{row.metric.name} {with_unit(row.cells[0])}"
        for row in comparison.metrics
        if not row.differs and row.cells[0] is not None
    ]
    return f"the same in all: {', '.join(parts)}" if parts else ""


def sample_lines(comparison: TrialComparison) -> list[str]:
    """Format how much the trials differ item by item, and which trials have no outputs recorded."""
    first = comparison.trials[0]
    lines = [difference_text(d, first, comparison.primary) for d in comparison.differences]
    missing = [t for t in comparison.trials if t.measured and t.number not in comparison.outputs]
    if missing and len(missing) == sum(trial.measured for trial in comparison.trials):
        why = "this workload returns no example outputs"
        lines.append(f"no outputs are recorded ({why}); below are items by their quality")
    elif missing:
        names = ", ".join(f"{trial.number:03}" for trial in missing)
        lines.append(f"no outputs are recorded of {names}: they were measured without")
    return lines


def sample_tables(comparison: TrialComparison, count: int) -> Iterator["Table"]:
    """Yield a table for each of the `count` items that differ most: the input, then each output."""
    total = len(comparison.items)
    for place, row in enumerate(comparison.items[:count], start=1):
        yield _item_table(comparison, row, f"{place} of {total}: item {row.item}")


def _item_table(comparison: TrialComparison, row: ItemRow, title: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    others = f"; {row.differing} of {len(row.outputs) - 1} outputs differ" if row.example else ""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.title = Text(f"{title}{others}", style="bold")
    table.min_width = table.title.cell_len  # rich folds a title that is wider than its table
    table.title_justify = "left"
    table.add_column(max_width=24, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    table.add_column(justify="right", overflow="fold")
    for cells in _input_rows(comparison, row):
        table.add_row(*(Text(cell, style="dim") for cell in cells))
    for cells in _output_rows(comparison, row):
        table.add_row(*map(Text, cells))
    table.add_row("")
    return table


def _input_rows(comparison: TrialComparison, row: ItemRow) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of an item: its input and the score's name, then the expected output.

    The expected output is omitted if all outputs are right.
    """
    example = row.example
    if example is None:
        yield "", "", comparison.primary.name
        return
    metric_name = example.score_name if example.right is not None else comparison.primary.name
    yield "input", one_line(example.input), metric_name
    if example.expected and not all(sample and sample.right for sample in row.outputs):
        yield "expected", one_line(example.expected), ""


def _output_rows(comparison: TrialComparison, row: ItemRow) -> Iterator[tuple[str, str, str]]:
    """Yield one row per trial with its output and quality; a single row if all outputs agree."""
    known = [sample for sample in row.outputs if sample is not None]
    if not row.differing and len(known) == len(row.outputs):
        texts = dict.fromkeys(_quality_text(row, place) for place in range(len(known)))
        yield f"all {len(known)}", one_line(known[0].output), "\n".join(texts)
        return
    for place, trial in enumerate(comparison.trials):
        sample = row.outputs[place]
        same = (
            place and sample is not None and row.outputs[0] is not None and not row.differs(place)
        )
        text = "-" if sample is None else "(the same)" if same else one_line(sample.output)
        yield trial.short_name(), text if row.example is not None else "", _quality_text(row, place)


def _quality_text(row: ItemRow, place: int) -> str:
    """Format an output as `right 0.710`, or as its quality if no output is right or wrong."""
    sample, quality = row.outputs[place], row.quality[place]
    if sample is not None and sample.right is not None:
        text = "right" if sample.right else "wrong"
        return text if sample.score is None else f"{text} {number_text(sample.score)}"
    return "-" if quality is None else number_text(quality)


def trial_comparison_record(comparison: TrialComparison) -> dict[str, Any]:
    """Return all data of the trials and of every item as plain JSON values."""
    return {
        "schema": 1,
        "compared_with": comparison.trials[0].number,
        "trials": [
            trial_record(trial, comparison.result.view(trial).warnings)
            for trial in comparison.trials
        ],
        "ratios": {
            row.metric.name: [row.ratio(place) for place in range(len(row.cells))]
            for row in comparison.metrics
        },
        "differences": [
            {
                "trial": found.trial.number,
                "outputs": found.outputs,
                "differing_outputs": found.differing,
                "items": found.items,
                "better": list(found.better),
                "worse": list(found.worse),
            }
            for found in comparison.differences
        ],
        "metric": comparison.primary.name,
        "items": [_item_record(comparison, row) for row in comparison.items],
    }


def _item_record(comparison: TrialComparison, row: ItemRow) -> dict[str, Any]:
    return {
        "item": row.item,
        "input": row.example.input if row.example is not None else None,
        "expected": row.example.expected if row.example is not None else None,
        "outputs": [
            {
                "trial": trial.number,
                "output": sample.output if sample is not None else None,
                "right": sample.right if sample is not None else None,
                "score": sample.score if sample is not None else None,
                "score_name": sample.score_name if sample is not None else "",
                "quality": row.quality[place],
                "differs": row.differs(place),
            }
            for place, (trial, sample) in enumerate(
                zip(comparison.trials, row.outputs, strict=True)
            )
        ],
    }


def trial_comparison_csv(comparison: TrialComparison) -> str:
    """Format the comparison as CSV: one row per compared value, one column per trial."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "name", "unit", *(f"{t.number:03}" for t in comparison.trials)])
    for kind, rows in (("choice", comparison.choices), ("fact", comparison.facts)):
        writer.writerows([kind, row.name, "", *row.cells] for row in rows)
    for found in comparison.metrics:
        writer.writerows(_metric_rows(found))
    for row in comparison.items:
        writer.writerows(_item_rows(comparison, row))
    return text.getvalue()


def _metric_rows(row: MetricRow) -> Iterator[list[str]]:
    name, unit = row.metric.name, row.metric.unit
    for kind, end in (
        ("measurement", "value"),
        ("measurement_low", "low"),
        ("measurement_high", "high"),
    ):
        yield [kind, name, unit, *("" if c is None else repr(getattr(c, end)) for c in row.cells)]
    yield ["ratio", name, "", *(_text(row.ratio(place)) for place in range(len(row.cells)))]


def _item_rows(comparison: TrialComparison, row: ItemRow) -> Iterator[list[str]]:
    name = f"item {row.item}"
    if row.example is not None:
        for field in ("input", "output", "expected", "right", "score"):
            cells = ["" if s is None else _text(getattr(s, field)) for s in row.outputs]
            if any(cells):
                yield [field, name, "", *cells]
    yield ["quality", name, comparison.primary.name, *map(_text, row.quality)]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def counted_samples(comparison: TrialComparison, shown: int) -> str:
    """Format how many items are not shown, and the option that shows them; empty if none."""
    left = len(comparison.items) - shown
    return f"{counted(left, 'more item')}: --samples {len(comparison.items)}" if left > 0 else ""
