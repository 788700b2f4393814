"""`tunefront doctor`: report hardware, installed runtimes and missing libraries."""

from typing import TYPE_CHECKING

import click

from tunefront.search.exit_codes import ExitCode

if TYPE_CHECKING:
    from tunefront.spaces import Catalog


@click.command("doctor")
@click.argument("experiment", required=False, type=click.Path())
@click.option("--choices", is_flag=True, help="List every choice with its values.")
@click.option("--check", is_flag=True, help="Check the extensions of EXPERIMENT.")
def doctor_command(experiment: str | None, choices: bool, check: bool) -> None:
    """Report this machine's hardware, GPUs, runtimes and number formats, and what is missing.

    EXPERIMENT adds the extensions and choices of an experiment file. --check runs the conformance
    suites on what it adds, and exits with 5 if a check fails.
    """
    from tunefront.evaluators.measures.gpu_setup import gpu_setup
    from tunefront.search.terminal.doctor.machine import choices_lines, doctor_lines
    from tunefront.spaces import detect_hardware

    if check:
        _check(experiment)
        return
    catalog = _catalog(experiment)
    if choices:
        lines = choices_lines(catalog)
    else:
        lines = doctor_lines(detect_hardware(), catalog, gpu_setup())
    click.echo("\n".join(lines))


def _catalog(experiment: str | None) -> "Catalog":
    from tunefront.evaluators import builtin_catalog
    from tunefront.search.experiment.resolver import load_experiment

    return builtin_catalog() if experiment is None else load_experiment(experiment).space.catalog


def _check(experiment: str | None) -> None:
    """Run the conformance suites and print one line for each check.

    Raises:
        UsageError: If no experiment is named, or it adds nothing.
    """
    from tunefront.evaluators.testing.suite import check_additions
    from tunefront.search.experiment.resolver import load_experiment
    from tunefront.spaces import detect_hardware

    if experiment is None:
        raise click.UsageError("--check needs an EXPERIMENT whose extensions are checked")
    found = list(check_additions(load_experiment(experiment).workload, detect_hardware()))
    if not found:
        raise click.UsageError(f"{experiment} adds no choice, runtime or workload to check")
    for one in found:
        detail = f": {one.problem}" if one.problem else ""
        click.echo(f"{'--' if one.problem else 'ok'}  {one.subject}: {one.check}{detail}")
    if any(one.problem for one in found):
        raise SystemExit(ExitCode.VERIFICATION_FAILED)
