"""`tunefront doctor`: report hardware, installed runtimes and missing libraries."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tunefront.spaces import Catalog


@click.command("doctor")
@click.argument("experiment", required=False, type=click.Path())
@click.option("--choices", is_flag=True, help="List every choice with its values.")
def doctor_command(experiment: str | None, choices: bool) -> None:
    """Report this machine's hardware, runtimes and number formats, and what is missing.

    EXPERIMENT adds the extensions and choices of an experiment file.
    """
    from tunefront.search.terminal.plan import choices_lines, doctor_lines
    from tunefront.spaces import detect_hardware

    catalog = _catalog(experiment)
    lines = choices_lines(catalog) if choices else doctor_lines(detect_hardware(), catalog)
    click.echo("\n".join(lines))


def _catalog(experiment: str | None) -> "Catalog":
    from tunefront.evaluators import builtin_catalog
    from tunefront.search.experiment.resolver import load_experiment

    return builtin_catalog() if experiment is None else load_experiment(experiment).space.catalog
