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
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="REQUESTS",
    help="Requests a second: how many replicas of TRIAL they need under the SLO.",
)
@with_format
def show_command(
    experiment: Path, trial: str | None, everything: bool, rate: float | None, style: str
) -> None:
    """Show the front and the picks, all trials, or one trial.

    EXPERIMENT is an experiment file, its folder, or the folder of a record (results/NAME),
    including one that --fresh has archived. TRIAL is a number, a pick's name, `baseline`, an MLflow
    run id, or the address of the run's page. To compare two searches, use `tunefront diff`.

    \b
    tunefront show experiments/minilm
    tunefront show experiments/minilm 38
    tunefront show experiments/minilm fastest
    tunefront show experiments/text-generation fastest --rate 50
    tunefront show experiments/minilm 'http://127.0.0.1:5000/#/experiments/1/runs/ID'
    """
    from tunefront.search.results.archive import open_search
    from tunefront.search.results.metadata import recorded_result
    from tunefront.search.results.rows import trial_record
    from tunefront.search.results.sizing import sizing_of
    from tunefront.search.terminal.result import trial_lines, trials_table
    from tunefront.search.terminal.tables import print_table
    from tunefront.search.tracking.server import print_front_link

    if rate is not None and (trial is None or style == "csv"):
        raise click.UsageError("--rate needs TRIAL, as table or json: whose replicas are counted")
    result = recorded_result(open_search(experiment))
    if trial is not None:
        found = find(result, trial)
        sizing = None if rate is None else sizing_of(result, found, rate)
        if style == "csv":
            print_trials(result, [found], style)
        elif style == "json":
            sized = {} if sizing is None else {"sizing": sizing.record}
            record = trial_record(found, result.view(found).warnings)
            click.echo(json.dumps({**record, **sized}, indent=2))
        else:
            lines = [] if sizing is None else [f"sizing: {sizing.text}"]
            click.echo("\n".join([*trial_lines(result, found), *lines]))
    elif not everything:
        print_result(result, style)
        print_closing(result, style)
    elif style == "table":
        print_table(trials_table(result, result.trials))
    else:
        print_trials(result, result.trials, style)
    print_front_link(result.experiment, print_message)
