"""`tunefront show`: print the front and the picks, all trials, or one trial."""

import json
from pathlib import Path

import click

from .arguments import (
    find,
    print_closing,
    print_message,
    print_result,
    print_trials,
    with_experiment,
    with_format,
)


@click.command("show")
@with_experiment
@click.argument("trial", required=False)
@click.option("--all", "everything", is_flag=True, help="All trials, not only the front.")
@with_format
def show_command(experiment: Path, trial: str | None, everything: bool, style: str) -> None:
    """Show the front and the picks, all trials, or one trial.

    EXPERIMENT is an experiment file, its folder, or the folder of a record (results/NAME),
    including one that --fresh has archived. TRIAL is a number, a pick's name, `baseline`, an MLflow
    run id, or the address of the run's page. To compare two searches, use `tunefront diff`.

    \b
    tunefront show experiments/minilm
    tunefront show experiments/minilm 38
    tunefront show experiments/minilm fastest
    tunefront show experiments/minilm 'http://127.0.0.1:5000/#/experiments/1/runs/ID'
    """
    from tunefront.search.results.archive import open_search
    from tunefront.search.results.metadata import recorded_result
    from tunefront.search.results.rows import trial_record
    from tunefront.search.terminal.result import trial_lines, trials_table
    from tunefront.search.terminal.tables import print_table
    from tunefront.search.tracking.server import print_front_link

    result = recorded_result(open_search(experiment))
    if trial is not None:
        found = find(result, trial)
        if style == "csv":
            print_trials(result, [found], style)
        elif style == "json":
            click.echo(json.dumps(trial_record(found), indent=2))
        else:
            click.echo("\n".join(trial_lines(result, found)))
    elif not everything:
        print_result(result, style)
        print_closing(result, style)
    elif style == "table":
        print_table(trials_table(result, result.trials))
    else:
        print_trials(result, result.trials, style)
    print_front_link(result.experiment, print_message)
