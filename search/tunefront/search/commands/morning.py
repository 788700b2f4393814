"""The morning: look, pick, report."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from .over_time import names_search, print_changes
from .shared import (
    find,
    print_answer,
    print_closing,
    print_trials,
    say,
    searched_experiment,
    with_experiment,
    with_format,
)


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


@click.command("pick")
@with_experiment
@click.option("--limit", "limits", multiple=True, metavar="'METRIC<=NUMBER'", help="A limit.")
@click.option("--prefer", metavar="METRIC", help="The metric that decides.")
@with_format
def pick_command(experiment: Path, limits: Sequence[str], prefer: str | None, style: str) -> int:
    """Pick from what is recorded, with other limits or preferences; nothing is run.

    \b
    tunefront pick experiments/minilm --limit 'latency_ms<=12' --prefer throughput
    """
    from tunefront.search.experiment.objective import Limit, check_limits
    from tunefront.search.results.archive import open_search
    from tunefront.search.results.result import answer_of
    from tunefront.search.study.confirmation import Confirmation
    from tunefront.search.study.study import Study
    from tunefront.search.terminal.result import relaxation_lines

    loaded = open_search(experiment)
    study = Study.read(loaded)
    chosen = tuple(Limit.parse_expression(text, loaded.metrics) for text in limits)
    named = {limit.metric for limit in chosen}
    kept = tuple(limit for limit in loaded.limits if limit.metric not in named)
    check_limits((*kept, *chosen))
    confirmation = Confirmation.from_dict(study.confirmation())
    answer = answer_of(loaded, study.trials(), confirmation, (*kept, *chosen), prefer)
    print_answer(answer, style, (*kept, *chosen))
    if style == "table" and (lines := relaxation_lines(answer, (*kept, *chosen), prefer)):
        click.echo("\n".join(["", "each limit alone could buy:", *lines]))
    if answer.front.trials:
        return 0
    from tunefront.search.run.search import EXIT_CODES

    return EXIT_CODES["nothing within limits"]


@click.command("report")
@with_experiment
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; report.html beside the record where none is named.",
)
def report_command(experiment: Path, output: Path | None) -> None:
    """Write the search as one page that opens anywhere: answer, fronts, sliders for limits.

    \b
    tunefront report experiments/minilm
    tunefront report experiments/minilm --output minilm.html
    """
    from tunefront.search.report.page import REPORT_FILE, write_report
    from tunefront.search.results.archive import open_search
    from tunefront.search.results.metadata import read_record, recorded_answer
    from tunefront.spaces import ExperimentError

    loaded = open_search(experiment)
    answer = recorded_answer(loaded)
    path = output or loaded.results / REPORT_FILE
    try:
        write_report(answer, read_record(loaded), path)
    except OSError as error:
        raise ExperimentError(f"{path} can't be written: {error}") from error
    click.echo(str(path))


@click.command("ls")
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default="."
)
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def ls_command(folder: Path, style: str) -> None:
    """List the searches below a folder, the one that changed last first.

    \b
    tunefront ls experiments
    """
    from tunefront.search.run.listing import searches_below
    from tunefront.search.terminal.listings import searches_record, searches_table
    from tunefront.search.terminal.tables import print_table

    found = searches_below(folder)
    if style == "json":
        click.echo(json.dumps(searches_record(found), indent=2))
    elif found:
        print_table(searches_table(found))
    else:
        say(f"no search below {folder.absolute()}; start one with `tunefront run FILE`")


@click.command("ui")
@with_experiment
@click.option("--port", type=click.IntRange(1, 65_535), default=5000, help="Where to serve.")
@click.option("--detach", is_flag=True, help="Leave the server running in the background.")
@click.option("--stop", is_flag=True, help="End a server that was left running.")
@click.option("--open/--no-open", "opened", default=True, help="Open a browser.")
def ui_command(experiment: Path, port: int, detach: bool, stop: bool, opened: bool) -> None:
    """Serve MLflow on this machine, and open it on the front.

    \b
    tunefront ui experiments/minilm
    tunefront ui experiments/minilm --port 5001 --detach
    """
    from tunefront.search.tracking.server import serve, stop_server

    loaded = searched_experiment(experiment)
    if stop:
        say(stop_server(loaded))
        return
    serve(loaded, port=port, detach=detach, opened=opened, say=say)
