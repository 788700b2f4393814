"""`tunefront sync`: write the record of a search into MLflow."""

from pathlib import Path

import click

from .arguments import (
    print_message,
    searched_experiment,
    with_experiment,
    with_smoke,
)


@click.command("sync")
@with_experiment
@with_smoke
def sync_command(experiment: Path, smoke: bool) -> None:
    """Write the record of a search into MLflow.

    Use it if MLflow could not be reached during the search. Trials that MLflow already holds are
    not written again.
    """
    from tunefront.search.terminal.events import event_text
    from tunefront.search.text import command_text, counted
    from tunefront.search.tracking.writer import ViewsUnavailable
    from tunefront.search.tracking.writer import sync as sync_search

    done = sync_search(searched_experiment(experiment, smoke=smoke))
    click.echo(
        f"MLflow holds all {counted(done.trials, 'trial')}, {done.written} of them written now"
    )
    click.echo(f"front:  {done.link}")
    print_message(f"        (served by `{command_text('ui', experiment)}`)")
    if done.obstacle:
        print_message(event_text(ViewsUnavailable(obstacle=done.obstacle)))
