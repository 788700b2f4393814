"""`tunefront report`: write the report of a search as one HTML page."""

from pathlib import Path

import click

from .arguments import (
    with_experiment,
)


@click.command("report")
@with_experiment
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; by default report.html next to the record.",
)
def report_command(experiment: Path, output: Path | None) -> None:
    """Write the report of a search as one self-contained HTML page.

    It contains the result, the fronts and sliders for the limits.

    \b
    tunefront report experiments/minilm
    tunefront report experiments/minilm --output minilm.html
    """
    from tunefront.search.report.page import REPORT_FILE, write_report
    from tunefront.search.results.archive import open_search
    from tunefront.search.results.metadata import read_record, recorded_result
    from tunefront.spaces import ExperimentError

    loaded = open_search(experiment)
    result = recorded_result(loaded)
    path = output or loaded.results / REPORT_FILE
    try:
        write_report(result, read_record(loaded), path)
    except OSError as error:
        raise ExperimentError(f"{path} can't be written: {error}") from error
    click.echo(str(path))
