"""The command that writes the report anew."""

from pathlib import Path

import click


@click.command()
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; report.html beside the record where none is named.",
)
def report(experiment: Path, output: Path | None) -> None:
    """Write the search as one page that opens anywhere: answer, fronts, sliders for limits.

    \b
    tunefront report experiments/minilm
    tunefront report experiments/minilm --output minilm.html
    """
    from tunefront.search.experiment import load_experiment
    from tunefront.search.night import read_record, recorded_answer
    from tunefront.spaces import ExperimentError

    from .page import FILE, write_report

    loaded = load_experiment(experiment)
    answer = recorded_answer(loaded)
    path = output or loaded.results / FILE
    try:
        write_report(answer, read_record(loaded), path)
    except OSError as error:
        raise ExperimentError(f"{path} can't be written: {error}") from error
    click.echo(str(path))
