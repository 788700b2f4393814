"""tunefront stop: end a search early."""

from pathlib import Path

import click

from .arguments import (
    say,
    searched_experiment,
    with_experiment,
    with_smoke,
)


@click.command("stop")
@with_experiment
@with_smoke
@click.option("--now", is_flag=True, help="Drop the trials that are running.")
def stop_command(experiment: Path, smoke: bool, now: bool) -> None:
    """Let a search finish the trials that are running, and end; it can go on later.

    \b
    tunefront stop experiments/minilm
    tunefront stop experiments/minilm --now
    """
    from tunefront.search.run.status import stop_search

    stop_search(searched_experiment(experiment, smoke=smoke), now=now, say=say)
