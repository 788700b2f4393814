"""`tunefront run`: search, confirm the finalists, write the report."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .arguments import (
    echo,
    export_and_verify,
    export_or_verify,
    interrupted_as,
    print_closing,
    print_message,
    print_result,
    with_experiment,
    with_format,
    with_overrides,
)

if TYPE_CHECKING:
    from tunefront.search.experiment.experiment import Experiment
    from tunefront.search.results.result import Result
    from tunefront.search.run.events import Event, OnEvent
    from tunefront.search.run.search import RunResult
    from tunefront.search.study.trial import Trial
    from tunefront.search.terminal.live import Screen


@click.command("run")
@with_experiment
@with_overrides
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the plan, check model and data; run no trial.",
)
@click.option("--smoke", is_flag=True, help="Run a quick check; its record is separate.")
@click.option("--fresh", is_flag=True, help="Archive an earlier record and start again.")
@click.option(
    "--warm-start",
    type=click.Path(path_type=Path),
    help="Try the front of this experiment's search first.",
)
@click.option("--no-history", is_flag=True, help="Learn nothing from earlier searches.")
@click.option("--export", "exported", is_flag=True, help="Export the recommended trial, verified.")
@click.option("--detach", is_flag=True, help="Run in the background; the terminal may be closed.")
@with_format
def run_command(
    experiment: Path,
    overrides: Sequence[str],
    dry_run: bool,
    smoke: bool,
    fresh: bool,
    warm_start: Path | None,
    no_history: bool,
    exported: bool,
    detach: bool,
    style: str,
) -> int:
    """Search, confirm the finalists and print the result.

    Run the same command again to resume after an interruption. With `--format json`, each event
    is printed as one JSON line; the last one holds the result.

    \b
    tunefront run experiments/minilm --dry-run
    tunefront run experiment.yaml --set budget.trials=20 --export
    tunefront run experiment.yaml --detach
    """
    from tunefront.search.experiment.resolver import load_experiment
    from tunefront.search.run.preflight import check_for_plan, runnable_or_error
    from tunefront.search.run.search import run_search
    from tunefront.search.terminal.live import screen_for
    from tunefront.search.terminal.plan import plan_lines

    if warm_start is not None:
        overrides = [*overrides, f"warm_start={warm_start.absolute()}"]
    if no_history:
        overrides = [*overrides, "history=false"]
    loaded = load_experiment(experiment, overrides, smoke=smoke)
    if dry_run:
        runnable_or_error(loaded)
        try:
            with screen_for(loaded) as screen:
                loaded = check_for_plan(loaded, screen.on_event)
        finally:  # a plan without what the check finds, if it fails
            click.echo("\n".join(plan_lines(loaded, runnable_or_error(loaded))))
        return 0
    if detach:
        runnable_or_error(loaded)
        return _detach(loaded, exported=exported, fresh=fresh, style=style)
    with screen_for(loaded) as screen:
        on_event = _print_events(screen) if style == "json" else screen.on_event
        finished = run_search(loaded, fresh=fresh, exported=exported, on_event=on_event)
    if style == "json":
        _print_finished(finished)
    else:
        print_result(finished.result, style)
        print_closing(finished.result, style)
    _print_next_steps(finished, experiment)
    if exported and finished.result.front.recommended is not None:
        _export(finished.result, finished.result.front.recommended, style)
    return finished.exit_code


def _print_events(screen: "Screen") -> "OnEvent":
    """Return a callback that prints each event as one JSON line, and shows it on the screen."""
    from tunefront.search.run.events import event_record

    def on_event(event: "Event") -> None:
        if not sys.stdout.isatty():  # on one terminal the two would overwrite each other
            screen.on_event(event)
        click.echo(json.dumps(event_record(event)))

    return on_event


def _print_finished(finished: "RunResult") -> None:
    """Print the result as the JSON line of a last event."""
    from tunefront.search.terminal.result import result_record

    record = {
        "event": "search_finished",
        "outcome": finished.outcome,
        "exit_code": finished.exit_code,
        "folder": str(finished.folder),
        "link": finished.link,
        "seconds": finished.seconds,
        "result": result_record(finished.result),
    }
    click.echo(json.dumps(record))


def _export(result: "Result", trial: "Trial", style: str) -> None:
    """Export a trial unless it is exported, verify the export, and print the outcome."""
    if style != "json":
        export_and_verify(result, trial, None, keep=True)
        return
    folder, verification = export_or_verify(result, trial, None, keep=True)
    record = {"event": "exported", "folder": str(folder), "verified": verification.passed}
    click.echo(json.dumps(record))


def _detach(experiment: "Experiment", *, exported: bool, fresh: bool, style: str) -> int:
    """Run the same command in the background and return its exit code (0 once it has started)."""
    from tunefront.search.run.driver_process import detach
    from tunefront.search.text import command_text

    arguments = ["--format", style]
    arguments += [word for text in experiment.overrides for word in ("--set", text)]
    arguments += ["--smoke"] if experiment.smoke else []
    arguments += ["--export"] if exported else []
    arguments += ["--fresh"] if fresh else []
    arguments += ["--", str(experiment.path)]  # the path can begin with a hyphen
    end = command_text("stop", experiment.path)
    with interrupted_as(f"the search continues in the background; `{end}` ends it"):
        return detach(experiment, arguments, print_message)


def _print_next_steps(finished: "RunResult", written: Path) -> None:
    from tunefront.search.experiment.resolver import load_experiment
    from tunefront.search.results.metadata import read_record, resume_command
    from tunefront.search.results.result import early_ends
    from tunefront.search.terminal.plan import estimate_line
    from tunefront.search.text import command_text, duration_text
    from tunefront.search.tracking.server import print_front_link

    result, smoke = finished.result, finished.result.experiment.smoke
    counts = f"{result.counts()}, {duration_text(finished.seconds)}"
    print_message("")
    saved = early_ends(result.trials, result.experiment.objectives)
    echo(["; ".join(filter(None, (counts, saved)))], err=True)
    echo(["", f"  {result.headline()}", ""], err=True)
    if finished.link:
        print_front_link(result.experiment, print_message)
    if finished.outcome == "interrupted":
        command = resume_command(result.experiment, read_record(result.experiment))
        print_message(f"next:   interrupted; `{command}` resumes it")
    elif smoke:
        whole = load_experiment(written, result.experiment.overrides)
        print_message(estimate_line(whole, whole.space.enumerate()))
        print_message(
            "a quick check, its measurements are not meaningful; "
            f"next: {command_text('run', written)}"
        )
    elif result.baseline is None:
        command = command_text("show", written, "0")
        print_message(f"next:   {command}, for the baseline's error message")
    else:
        print_message(f"next:   {command_text('show', written)} | pick | compare | export")
