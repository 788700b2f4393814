"""Construction and printing of tables."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Column, Table

WIDTH = 200
"""Columns of a table without a terminal; more if words would be broken."""
LONGEST_WORD = 40
"""Longest word, in characters, that keeps a column from being narrowed."""


def print_table(table: "Table") -> None:
    """Print a table on stdout: in the terminal's width, or `WIDTH` columns without a terminal.

    Columns of single words are not narrowed unless the terminal is too narrow for all words.
    """
    from rich.console import Console

    console = Console()
    wrapped = [column for column in table.columns if not column.no_wrap and _single_words(column)]
    for column in wrapped:
        column.no_wrap = True
    # A console never reports a width above its own, so measure on a wide one.
    needed = Console(width=10 * WIDTH).measure(table).minimum
    if not console.is_terminal:
        console = Console(width=max(WIDTH, needed))
    elif needed > console.width:
        for column in wrapped:
            column.no_wrap = False  # its ends would be cut off
    console.print(table)


def _single_words(column: "Column") -> bool:
    """Return whether no cell has several words, or one above `LONGEST_WORD`."""
    texts = [str(cell) for cell in column.cells]
    return all(len(text.split()) < 2 and len(text) <= LONGEST_WORD for text in texts)


def table_of(header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> "Table":
    """Build a plain table; columns that contain only numbers are right-aligned."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    listed = [list(row) for row in rows]
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        numbers = all(_numeric(row[place]) for row in listed)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in listed:
        table.add_row(*map(escape, row))  # rich would take text in brackets for markup
    return table


def _numeric(text: str) -> bool:
    try:
        float(text.replace(",", "").rstrip("x%").replace("±", "") or "0")
    except ValueError:
        return False
    return True
