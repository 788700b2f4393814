"""`tunefront stop`: end a search early."""

from pathlib import Path

import click

from .arguments import (
    interrupted_as,
    print_message,
    searched_experiment,
    with_experiment,
    with_smoke,
)


@click.command("stop")
@with_experiment
@with_smoke
@click.option("--now", is_flag=True, help="Drop the trials that are running.")
def stop_command(experiment: Path, smoke: bool, now: bool) -> None:
    """Stop a search after its running trials have finished.

    `tunefront run` resumes it later.

    \b
    tunefront stop experiments/minilm
    tunefront stop experiments/minilm --now
    """
    from tunefront.search.run.status import stop_search

    loaded = searched_experiment(experiment, smoke=smoke)
    with interrupted_as("the request was sent; the search ends after its running trials"):
        stop_search(loaded, now=now, on_message=print_message)
