"""`tunefront status`: show the progress of a search."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import (
    interrupted_as,
    print_message,
    print_trials,
    searched_experiment,
    with_experiment,
    with_format,
    with_smoke,
)

if TYPE_CHECKING:
    from tunefront.search.run.status import SearchStatus


@click.command("status")
@with_experiment
@with_smoke
@click.option(
    "--watch", is_flag=True, help="Print the status at every change until the search ends."
)
@with_format
def status_command(experiment: Path, smoke: bool, watch: bool, style: str) -> None:
    """Show the progress of a search and whether it is running.

    \b
    tunefront status experiments/minilm
    tunefront status experiments/minilm --watch
    """
    from tunefront.search.run.status import status_of
    from tunefront.search.run.status import watch as watch_search
    from tunefront.search.terminal.result import result_record
    from tunefront.search.tracking.server import print_front_link

    loaded = searched_experiment(experiment, smoke=smoke)
    if watch:
        if style != "table":
            raise click.UsageError("--watch is for people: it has no --format")
        goes_on = f"only watching has ended; `tunefront stop {experiment}` ends the search"
        with interrupted_as(goes_on):
            watch_search(loaded, _Changes())
        return
    found = status_of(loaded)
    if style == "table":
        click.echo("\n".join(found.lines()))
    elif style == "csv" and found.result is not None:
        print_trials(found.result, found.trials, "csv")
    elif style == "json":
        known = {} if found.result is None else result_record(found.result)
        click.echo(json.dumps({**known, "run": found.fields()}, indent=2))
    print_front_link(loaded, print_message)


class _Changes:
    """Status printer: in full on a cleared terminal; elsewhere one line, only if it changed."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, status: "SearchStatus") -> None:
        if sys.stdout.isatty():
            click.clear()
            click.echo("\n".join(status.lines()))
        elif status.line() != self._last:
            self._last = status.line()
            click.echo(f"{datetime.now():%H:%M:%S} {self._last}")
