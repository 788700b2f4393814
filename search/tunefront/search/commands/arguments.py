"""Arguments, options, trial lookup and printing that several commands share."""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunefront.search.exit_codes import code_of_interrupt

if TYPE_CHECKING:
    from tunefront.search.deploy.verify import Verification
    from tunefront.search.experiment.experiment import Experiment
    from tunefront.search.results.result import Result
    from tunefront.search.study.trial import Trial

RUN_ID = 32
"""Length of an MLflow run id, in characters."""

with_format = click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="How data is printed.",
)
with_overrides = click.option(
    "--set", "overrides", multiple=True, metavar="A.B=VALUE", help="Override a key of the file."
)
with_experiment = click.argument("experiment", type=click.Path(path_type=Path))
with_smoke = click.option("--smoke", is_flag=True, help="Use the record of the quick check.")


def print_message(line: str) -> None:
    """Print a message on stderr; stdout is for data only."""
    click.echo(line, err=True)


@contextmanager
def interrupted_as(text: str) -> Iterator[None]:
    """Exit on Ctrl-C and SIGTERM with a message that states what this means for the command."""
    try:
        yield
    except KeyboardInterrupt as error:
        print_message(text)
        raise SystemExit(code_of_interrupt(error)) from error


def searched_experiment(written: Path, *, smoke: bool = False) -> "Experiment":
    """Load an experiment with the overrides of its last search."""
    from tunefront.search.results.archive import load_searched

    return load_searched(written, smoke=smoke)


def find(result: "Result", written: str) -> "Trial":
    """Return the trial named by its number, its name, `baseline`, a pick's name or an MLflow run.

    MLflow is queried only if `written` is a run id or the address of a run's page.

    Raises:
        ExperimentError: If there is no such trial or run, or the address names no single run.
        TrackingError: If MLflow needs to be queried and does not hold the search.
    """
    from tunefront.spaces import ExperimentError, did_you_mean

    if "://" in written or len(written.strip()) >= RUN_ID:
        from tunefront.search.tracking.runs import Runs, run_named_in

        if (run := run_named_in(written)) is not None:
            return result.trials[Runs(result.experiment).trial_of(run)]
    picks = {pick.name: pick.trial for pick in result.front.picks}
    if written == "baseline" and result.trials:
        return result.trials[0]
    if written in picks:
        return picks[written]
    number = written.split()[0] if written.split() else ""
    if number.isdigit() and int(number) < len(result.trials):
        return result.trials[int(number)]
    known = [*picks, "baseline"]
    raise ExperimentError(
        f"trial {written!r} does not exist; there are 0 to {len(result.trials) - 1}, and runs by "
        f"their id or their page's address{did_you_mean(written, known)}"
    )


def print_result(result: "Result", style: str) -> None:
    """Print the front and the picks, or the nearest misses if no trial keeps the limits."""
    from tunefront.search.results.rows import trials_csv
    from tunefront.search.terminal.narrow import suited_table
    from tunefront.search.terminal.result import (
        failure_lines,
        miss_lines,
        picks_lines,
        result_record,
        ties_line,
    )
    from tunefront.search.terminal.tables import print_table

    if style == "json":
        click.echo(json.dumps(result_record(result), indent=2))
    elif style == "csv":
        click.echo(trials_csv(result, result.front.trials), nl=False)
    elif result.front.picks:
        print_table(suited_table(result))
        echo([*filter(None, [ties_line(result)]), *picks_lines(result)])
    else:
        echo(miss_lines(result))
    if style == "table" and result.scarcity is not None:
        echo(["", f"warning: {result.scarcity}"])
    if style == "table" and (lines := failure_lines(result)):
        echo(["", *lines])


def echo(lines: Sequence[str], *, err: bool = False) -> None:
    """Print lines on stdout or stderr, wrapped to the terminal's width; unchanged elsewhere."""
    from tunefront.search.terminal.narrow import fitted

    if (sys.stderr if err else sys.stdout).isatty():
        lines = fitted(lines, shutil.get_terminal_size().columns)
    click.echo("\n".join(lines), err=err)


def print_closing(result: "Result", style: str) -> None:
    """Print the plot of the front and its close calls; print nothing for JSON or CSV."""
    from tunefront.search.terminal.closing import closing_lines

    if style == "table" and (lines := closing_lines(result)):
        click.echo("\n".join(lines))


def print_trials(result: "Result", trials: "Sequence[Trial]", style: str) -> None:
    """Print trials as JSON with all that is recorded, or as CSV with one row per trial."""
    from tunefront.search.results.rows import trials_csv, trials_json

    table = trials_json(result, trials) if style == "json" else trials_csv(result, trials)
    click.echo(table.rstrip("\n"))


def export_and_verify(
    result: "Result", trial: "Trial", output: Path | None, *, keep: bool = False
) -> "Verification":
    """Export a trial and verify the export as `export_or_verify` does; print the outcome."""
    from tunefront.evaluators.exports.folder import manifest_digest
    from tunefront.search.terminal.listings import verification_table
    from tunefront.search.terminal.tables import print_table

    folder, verification = export_or_verify(result, trial, output, keep=keep)
    print_table(verification_table(verification))
    if remark := verification.remark():
        print_message(remark)
    outcome = "exported and verified" if verification.passed else "verification failed"
    click.echo(f"{outcome}: {folder}")
    if verification.passed:
        click.echo(f"sha256 of its manifest: {manifest_digest(folder)}")
    return verification


def export_or_verify(
    result: "Result", trial: "Trial", output: Path | None, *, keep: bool = False
) -> "tuple[Path, Verification]":
    """Export a trial and verify the export; with `keep`, only verify an existing export.

    Return the folder of the export and its verification.
    """
    from tunefront.search.deploy.export import check_export_of, default_folder, export_trial
    from tunefront.search.deploy.verify import verify as verify_folder
    from tunefront.search.results.metadata import recorded_settings

    folder = output or default_folder(result, trial)
    if keep and folder.is_dir():
        check_export_of(result, trial, folder)
        print_message(f"{trial.name()} is exported already")
        return folder, verify_folder(folder)
    print_message(f"exporting {trial.name()}")
    with interrupted_as(f"stopped; {folder} was not written, and the same command begins again"):
        verification = export_trial(
            result, trial, recorded_settings(result.experiment), folder, print_message
        )
    return folder, verification
