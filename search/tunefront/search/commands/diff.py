"""`tunefront diff`: compare two searches."""

import json
from pathlib import Path

import click

from .arguments import with_format


@click.command("diff")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@with_format
def diff_command(before: Path, after: Path, style: str) -> None:
    """Compare two searches: their settings, their fronts and each configuration's measurements.

    BEFORE and AFTER are each an experiment file, its folder, or the folder of a record
    (results/NAME), including one that --fresh has archived.

    \b
    tunefront diff last-month/minilm experiments/minilm
    tunefront diff experiments/minilm/results/minilm.20261122-202951 experiments/minilm
    """
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
