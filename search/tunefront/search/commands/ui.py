"""`tunefront ui`: serve MLflow and open the front."""

from pathlib import Path

import click

from .arguments import (
    print_message,
    searched_experiment,
    with_experiment,
)


@click.command("ui")
@with_experiment
@click.option("--port", type=click.IntRange(1, 65_535), default=5000, help="Where to serve.")
@click.option("--detach", is_flag=True, help="Leave the server running in the background.")
@click.option("--stop", is_flag=True, help="End a server that was left running.")
@click.option("--open/--no-open", "opened", default=True, help="Open a browser.")
def ui_command(experiment: Path, port: int, detach: bool, stop: bool, opened: bool) -> None:
    """Serve MLflow on this machine and open the front in a browser.

    \b
    tunefront ui experiments/minilm
    tunefront ui experiments/minilm --port 5001 --detach
    """
    from tunefront.search.tracking.server import serve, stop_server

    loaded = searched_experiment(experiment)
    if stop:
        print_message(stop_server(loaded))
        return
    serve(loaded, port=port, detach=detach, opened=opened, on_message=print_message)
