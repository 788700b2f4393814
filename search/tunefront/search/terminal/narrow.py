"""Output for narrow terminals: a front table with fewer columns, and lines broken at words."""

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from tunefront.search.results.result import Result
from tunefront.search.results.view import TrialView

from .result import FRONT_TITLE, cells_of, front_table

if TYPE_CHECKING:
    from rich.table import Table

WIDEST_TABLE = 1000
DEEPEST, SHALLOW = 26, 6
"""Deepest hanging indent of a broken line, in columns, and the indent used instead beyond it."""


def suited_table(result: Result) -> "Table":
    """Return the front's table, or the narrow one if stdout is a terminal that is too narrow."""
    from rich.console import Console

    table, console = front_table(result), Console()
    # A console never reports a width above its own, so measure on a wide one.
    wanted = Console(width=WIDEST_TABLE).measure(table).maximum
    if console.is_terminal and wanted > console.width:
        return narrow_front_table(result)
    return table


def narrow_front_table(result: Result) -> "Table":
    """Build the table of the front and the baseline with all choices in one column."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=FRONT_TITLE)
    table.title_justify = "left"
    table.add_column("trial", no_wrap=True)
    table.add_column("", ratio=1)
    table.add_column("trust", no_wrap=True)
    for objective in result.experiment.objectives:
        unit = result.experiment.metrics[objective.metric].unit
        name = "\n_".join(objective.metric.rsplit("_", 1)) if len(objective.metric) > 10 else ""
        table.add_column(f"{name or objective.metric}\n{unit}", justify="right", no_wrap=True)
    objectives = [objective.metric for objective in result.experiment.objectives]
    for view in result.shortlist:
        if view.trial.measured:
            table.add_row(*_narrow_cells(view, objectives))
    return table


def _narrow_cells(view: TrialView, objectives: Sequence[str]) -> list[str]:
    """Format a trial with its choices below its role, and its chance below its trust."""
    number, role, trust, *values = cells_of(view, objectives, most_ties=1)
    choices = view.short_name.partition(" ")[2]
    return [number, f"{role}\n{choices}", trust.replace(", ", "\n"), *values]


def fitted(lines: Sequence[str], width: int) -> list[str]:
    """Return lines unchanged if all fit; else break them between words with shallow indents."""
    if all(len(line) <= width for line in lines):
        return list(lines)
    return [part for line in lines for part in _fitted(line, width)]


def _fitted(line: str, width: int) -> list[str]:
    """Break one line; text after a long name starts on the next line."""
    text = line.lstrip()
    place = len(line) - len(text)
    head = ""
    if "  " in text:  # a name, a gap of two or more spaces, and a text
        place = line.rindex(text.split("  ", 1)[1].lstrip())
        head, text = line[:place].rstrip(), line[place:]
    if place > DEEPEST:
        place = SHALLOW
    elif head:
        return _filled(text, width, f"{head:{place}}", " " * place)
    return [*([head] if head else []), *_filled(text, width, " " * place, " " * max(place, 2))]


def _filled(text: str, width: int, first: str, later: str) -> list[str]:
    return wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
