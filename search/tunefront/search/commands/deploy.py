"""What leaves the search: export, verify."""

import json
from pathlib import Path

import click

from .shared import MISMATCH, export_and_verify, find, load, say, with_experiment


@click.command()
@with_experiment
@click.argument("trial", default="recommended")
@click.option("--output", type=click.Path(path_type=Path), help="The folder to write.")
def export(experiment: Path, trial: str, output: Path | None) -> None:
    """Export a trial as a folder that runs elsewhere, and verify it.

    \b
    tunefront export experiments/minilm
    tunefront export experiments/minilm smallest --output deploy/minilm
    """
    from tunefront.search.record import recorded_answer

    answer = recorded_answer(load(experiment))
    export_and_verify(answer, find(answer, trial), output)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def verify(folder: Path, style: str) -> int:
    """Check an export: files, outputs, choices, speed, memory; exit code 5 where it differs."""
    from dataclasses import asdict

    from tunefront.search.screens import print_table, verification_table
    from tunefront.search.verify import verify as verify_folder
    from tunefront.spaces import ExportError

    try:
        verification = verify_folder(folder)
    except ExportError as error:
        say(f"error: {error}")
        return MISMATCH
    if style == "json":
        click.echo(json.dumps([asdict(check) for check in verification.checks], indent=2))
    else:
        print_table(verification_table(verification))
        click.echo("verified" if verification.passed else "NOT what was exported")
    return 0 if verification.passed else MISMATCH
