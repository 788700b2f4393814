"""`tunefront recheck`: measure an export again."""

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunefront.search.exit_codes import ExitCode

from .arguments import print_message

if TYPE_CHECKING:
    from tunefront.search.deploy.recheck import Recheck

_TIME = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.command("recheck")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    help="Experiment file to evaluate quality with again; its code is run (default: the one "
    "recorded on this machine for this export, never the one that only the manifest names).",
)
@click.option("--every", metavar="TIME", help="Repeat at this interval: 30s, 10m, 1h or 1d.")
@click.option("--history", "past", is_flag=True, help="Show earlier rechecks; measure nothing.")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def recheck_command(
    folder: Path, experiment: Path | None, every: str | None, past: bool, style: str
) -> int:
    """Measure an export again and compare speed, memory and quality with the recorded values.

    Exit code 5 if a metric has drifted. A difference that other hardware or load on this machine
    can explain is reported as not compared. Every recheck is appended to FOLDER.rechecks.jsonl,
    next to the export.

    \b
    tunefront recheck deploy/minilm
    tunefront recheck deploy/minilm --experiment experiments/minilm
    tunefront recheck deploy/minilm --every 1h
    tunefront recheck deploy/minilm --history
    """
    from tunefront.search.deploy.recheck import history, keep
    from tunefront.search.deploy.recheck import recheck_export as recheck_folder
    from tunefront.search.terminal.recheck import history_table
    from tunefront.search.terminal.tables import print_table

    pause_s = None if every is None else parse_pause(every)
    if past:
        found = history(folder)
        if style == "json":
            click.echo(json.dumps(found, indent=2))
        else:
            print_table(history_table(found))
        return 0
    while True:
        checked = recheck_folder(folder, experiment, print_message if pause_s is None else _silent)
        keep(checked)
        _print_recheck(checked, style, single=pause_s is None)
        if checked.verdict == "drifted":
            return ExitCode.VERIFICATION_FAILED
        if pause_s is None:
            return 0
        time.sleep(pause_s)


def parse_pause(written: str) -> float:
    """Return the seconds of a duration such as `30s`, `10m`, `1h` or `1d`.

    Raises:
        ExperimentError: If the text is not such a duration, or is 0.
    """
    from tunefront.spaces import ExperimentError

    match = _TIME.fullmatch(written.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise ExperimentError(f"--every: a time such as 30s, 10m, 1h or 1d, but got {written!r}")
    return seconds


def _silent(_: str) -> None:
    """Discard progress messages: repeated rechecks print only their final line."""


def _print_recheck(checked: "Recheck", style: str, *, single: bool) -> None:
    from tunefront.search.terminal.recheck import recheck_line, recheck_lines, recheck_table
    from tunefront.search.terminal.tables import print_table

    if style == "json":
        click.echo(json.dumps(checked.to_dict(), indent=2 if single else None))
    elif single:
        print_table(recheck_table(checked))
        click.echo("\n".join(recheck_lines(checked)))
    else:
        click.echo(recheck_line(checked))
