"""tunefront show: the front and the picks, all trials, or one trial."""

import json
from pathlib import Path

import click

from .arguments import (
    find,
    print_answer,
    print_closing,
    print_trials,
    say,
    with_experiment,
    with_format,
)
from .diff import names_search, print_changes


@click.command("show")
@with_experiment
@click.argument("other", metavar="[TRIAL|SEARCH]", required=False)
@click.option("--all", "everything", is_flag=True, help="All trials, not only the front.")
@with_format
def show_command(experiment: Path, other: str | None, everything: bool, style: str) -> None:
    """Show the front and the picks, all trials, one trial, or what changed to another search.

    A search is an experiment's file, its folder, or the folder of a record (results/NAME), also one
    that --fresh has put aside. A second word that is a number, `baseline` or a pick's name is a
    trial; any other that is a path is a search to compare with (./12 for a folder called 12).

    \b
    tunefront show experiments/minilm
    tunefront show experiments/minilm 38
    tunefront show experiments/minilm fastest
    tunefront show experiments/minilm 'http://127.0.0.1:5000/#/experiments/1/runs/ID'
    tunefront show last-month/minilm experiments/minilm
    tunefront show experiments/minilm/results/minilm.20261122-202951 experiments/minilm
    """
    from tunefront.search.results.archive import open_search
    from tunefront.search.results.metadata import recorded_answer
    from tunefront.search.results.rows import trial_record
    from tunefront.search.terminal.result import trial_lines, trials_table
    from tunefront.search.terminal.tables import print_table
    from tunefront.search.tracking.server import say_front

    if other is not None and names_search(other):
        print_changes(experiment, Path(other), style)
        return
    answer = recorded_answer(open_search(experiment))
    if other is not None:
        found = find(answer, other)
        if style == "csv":
            print_trials(answer, [found], style)
        elif style == "json":
            click.echo(json.dumps(trial_record(found), indent=2))
        else:
            click.echo("\n".join(trial_lines(answer, found)))
    elif not everything:
        print_answer(answer, style)
        print_closing(answer, style)
    elif style == "table":
        print_table(trials_table(answer, answer.trials))
    else:
        print_trials(answer, answer.trials, style)
    say_front(answer.experiment, say)
