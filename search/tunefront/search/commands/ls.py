"""`tunefront ls`: list the searches below a folder."""

import json
from pathlib import Path

import click

from .arguments import (
    print_message,
)


@click.command("ls")
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default="."
)
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def ls_command(folder: Path, style: str) -> None:
    """List the searches below a folder, most recently changed first.

    \b
    tunefront ls experiments
    """
    from tunefront.search.run.listing import searches_below
    from tunefront.search.terminal.listings import searches_record, searches_table
    from tunefront.search.terminal.tables import print_table

    found = searches_below(folder)
    if style == "json":
        click.echo(json.dumps(searches_record(found), indent=2))
    elif found:
        print_table(searches_table(found))
    else:
        print_message(f"no search below {folder.absolute()}; start one with `tunefront run FILE`")
