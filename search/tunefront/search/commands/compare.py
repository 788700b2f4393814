"""`tunefront compare`: show configurations, measurements and outputs of trials side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import find, with_experiment, with_format

if TYPE_CHECKING:
    from tunefront.search.results.result import Result
    from tunefront.search.results.trial_comparison import TrialComparison
    from tunefront.search.study.trial import Trial


@click.command("compare")
@with_experiment
@click.argument("trials", nargs=-1, required=True)
@click.option(
    "--samples",
    "count",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Items shown with every trial's output, largest difference first.",
)
@with_format
def compare_command(experiment: Path, trials: Sequence[str], count: int, style: str) -> None:
    """Show trials side by side: what differs, and their outputs for the same items.

    The trial named first is the reference; a single trial is compared with the baseline. A trial
    can be written as its number, a pick's name or `baseline`. JSON and CSV contain all recorded
    data.

    \b
    tunefront compare experiments/minilm baseline recommended 12
    tunefront compare experiments/minilm baseline smallest --samples 12
    """
    from tunefront.search.results.archive import open_search
    from tunefront.search.results.metadata import recorded_result
    from tunefront.search.results.trial_comparison import TrialComparison
    from tunefront.search.study.outputs import outputs_of
    from tunefront.search.terminal.trial_comparison import (
        trial_comparison_csv,
        trial_comparison_record,
    )

    result = recorded_result(open_search(experiment))
    found = _named(result, trials)
    samples = outputs_of(result.experiment, found)
    comparison = TrialComparison(result=result, trials=found, outputs=samples)
    if style == "json":
        click.echo(json.dumps(trial_comparison_record(comparison), indent=1))
    elif style == "csv":
        click.echo(trial_comparison_csv(comparison), nl=False)
    else:
        print_trial_comparison(comparison, count)


def _named(result: "Result", names: Sequence[str]) -> list["Trial"]:
    """Return the named trials without duplicates, preceded by the baseline if there is only one.

    Raises:
        ExperimentError: If only the baseline is named, or a trial does not exist.
    """
    from tunefront.search.text import command_text
    from tunefront.spaces import ExperimentError

    found = {trial.number: trial for trial in (find(result, name) for name in names)}
    if len(found) == 1:
        found = {0: result.trials[0], **found}
    if len(found) == 1:
        raise ExperimentError(
            "compare: at least one trial besides the baseline is needed, but got only "
            f"{result.trials[0].name()}; "
            f"`{command_text('show', result.experiment.path, '--all')}` lists them"
        )
    return list(found.values())


def print_trial_comparison(comparison: "TrialComparison", count: int) -> None:
    """Print the table of differences, then the `count` items whose outputs differ most."""
    from tunefront.search.terminal.tables import print_table
    from tunefront.search.terminal.trial_comparison import (
        comparison_table,
        counted_samples,
        equal_line,
        sample_lines,
        sample_tables,
    )

    print_table(comparison_table(comparison))
    if equal := equal_line(comparison):
        click.echo(equal)
    if count:
        click.echo("\n".join(["", *sample_lines(comparison), ""]))
        for table in sample_tables(comparison, count):
            print_table(table)
        if left := counted_samples(comparison, count):
            click.echo(left)
