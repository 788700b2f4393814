"""`tunefront profile`: profile a trial's configuration."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import (
    find,
    interrupted_as,
    print_message,
    searched_experiment,
    with_experiment,
    with_format,
)

if TYPE_CHECKING:
    from tunefront.search.profile.run import ProfiledTrial
    from tunefront.search.results.result import Result


@click.command("profile")
@with_experiment
@click.argument("trial", required=False)
@with_format
def profile_command(experiment: Path, trial: str | None, style: str) -> None:
    """Profile a trial: where its time goes, what bounds it, and which choices could help.

    The trial's configuration is run again under the profiler of its runtime. Default: the
    recommended trial, or the baseline if none is recommended.

    \b
    tunefront profile experiments/minilm
    tunefront profile experiments/minilm baseline
    tunefront profile experiments/minilm 38 --format json
    """
    from tunefront.search.profile.run import profile_csv, profile_record, profile_trial
    from tunefront.search.results.metadata import recorded_result, recorded_settings
    from tunefront.search.run.preflight import prepare
    from tunefront.search.terminal.events import event_text
    from tunefront.search.terminal.profile import profile_lines, profile_tables
    from tunefront.search.terminal.tables import print_table

    loaded = searched_experiment(experiment)
    result = recorded_result(loaded)
    chosen = find(result, trial) if trial else result.front.recommended or result.trials[0]
    prepare(loaded.prepare, lambda event: print_message(event_text(event)))
    print_message(f"profiling {chosen.name()}")
    with interrupted_as("stopped; there is no profile, and the same command begins again"):
        found = profile_trial(result, chosen, recorded_settings(loaded), print_message)
    if style == "json":
        click.echo(json.dumps(profile_record(found), indent=2))
    elif style == "csv":
        click.echo(profile_csv(found.profile), nl=False)
    else:
        for table in profile_tables(found.profile):
            print_table(table)
        latency = loaded.latency
        measured = None if latency is None else chosen.measurements.get(latency.name)
        measured_ms = None if measured is None else measured.value
        click.echo("\n".join(profile_lines(found.profile, found.suggestions, measured_ms)))
    print_message(
        f"\nprofile: {found.folder} (profile.png, trace.json for chrome://tracing or Perfetto)"
    )
    _log(result, found)


def _log(result: "Result", found: "ProfiledTrial") -> None:
    """Log the profile in the trial's MLflow run; the files remain if MLflow can't be written."""
    from tunefront.search.study.study import Study
    from tunefront.search.tracking.writer import add_to_mlflow
    from tunefront.spaces import TrackingError

    try:
        link = add_to_mlflow(result, found, Study.read(result.experiment).search_id)
    except TrackingError as error:
        print_message(
            f"MLflow does not have it: {error}; the files stay, and the same command tries again"
        )
    else:
        print_message(f"MLflow:  {link}")
