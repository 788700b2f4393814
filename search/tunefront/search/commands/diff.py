"""tunefront diff: what changed from one search to another."""

import json
from pathlib import Path

import click


def names_search(written: str) -> bool:
    """Whether a word names a search rather than a trial: numbers and names of trials come first."""
    from tunefront.search.front.picks import NAMES

    word = written.split()[0] if written.split() else ""
    return not (word.isdigit() or written in (*NAMES, "baseline")) and Path(written).exists()


def print_changes(before: Path, after: Path, style: str) -> None:
    """What changed from one search to another."""
    from tunefront.search.results.archive import read_search
    from tunefront.search.results.search_comparison import compare_searches
    from tunefront.search.terminal.search_comparison import (
        print_search_comparison,
        search_comparison_csv,
        search_comparison_record,
    )

    comparison = compare_searches(read_search(before), read_search(after))
    if style == "json":
        click.echo(json.dumps(search_comparison_record(comparison), indent=2))
    elif style == "csv":
        click.echo(search_comparison_csv(comparison), nl=False)
    else:
        print_search_comparison(comparison)
