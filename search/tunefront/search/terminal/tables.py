"""Construction and printing of tables."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: "Table") -> None:
    """Print a table on stdout: in the terminal's width, or 200 columns wide without a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


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
