"""The command line: data on stdout, everything else on stderr, imports only when needed."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .report.command import report

if TYPE_CHECKING:
    from .answer import Answer
    from .objective import Limit
    from .trial import Trial

USAGE, INTERNAL, MISMATCH, INTERRUPTED = 2, 1, 5, 130

_format = click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="How data is printed.",
)
_set = click.option(
    "--set", "overrides", multiple=True, metavar="A.B=VALUE", help="Lay a value over the file."
)
_experiment = click.argument("experiment", type=click.Path(path_type=Path))


def main() -> NoReturn:
    """Run the command line; errors of ours become one message and the right exit code."""
    from tunefront.spaces import TunefrontError

    try:
        code = tunefront.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except TunefrontError as error:
        click.echo(f"error: {error}", err=True)
        code = USAGE
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on from here", err=True)
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


class _Suggesting(click.Group):
    """A group that answers a slip of the pen with the nearest command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from tunefront.spaces import did_you_mean

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Suggesting, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tunefront")
def tunefront() -> None:
    """Find how your model should run: a front you can trust, a winner you can deploy.

    \b
    tunefront init                      write a first experiment.yaml
    tunefront run experiment.yaml       search, confirm, answer; again to go on
    tunefront show experiment.yaml      the front, the picks, every trial
    tunefront export experiment.yaml    the recommended trial as a folder that runs
    """


@tunefront.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("experiment.yaml"))
@click.option(
    "--task",
    default="text-embedding",
    help="causal-lm, text-embedding, text-classification, image-classification or custom.",
)
@click.option("--model", default="organisation/name", help="A folder or a hub id.")
@click.option("--data", default="data.jsonl", help="Your data file.")
def init(path: Path, task: str, model: str, data: str) -> None:
    """Write an experiment file to start from, with every choice this machine can run.

    \b
    tunefront init
    tunefront init llm.yaml --task causal-lm --model ./my-llama --data heldout.jsonl
    """
    from .starter import write_starter

    write_starter(path, task=task, model=model, data=data)
    click.echo(f"wrote {path}; next: tunefront run {path} --dry-run", err=True)


@tunefront.command()
@click.option("--choices", is_flag=True, help="List every choice with its values.")
def doctor(choices: bool) -> None:
    """Say what this machine offers and what is missing."""
    from tunefront.spaces import detect_hardware

    from .screens import choices_lines, doctor_lines

    lines = choices_lines() if choices else doctor_lines(detect_hardware())
    click.echo("\n".join(lines))


@tunefront.command()
@_experiment
@_set
@click.option("--dry-run", is_flag=True, help="Print the plan and what is left out; run nothing.")
@click.option("--smoke", is_flag=True, help="A quick check; its figures are kept apart.")
@click.option("--fresh", is_flag=True, help="Put an earlier record aside and start anew.")
@click.option("--export", "exported", is_flag=True, help="Export the recommended trial, verified.")
@_format
def run(
    experiment: Path,
    overrides: Sequence[str],
    dry_run: bool,
    smoke: bool,
    fresh: bool,
    exported: bool,
    style: str,
) -> int:
    """Search, confirm the finalists, answer. The same command goes on after an interruption.

    \b
    tunefront run experiments/minilm --dry-run
    tunefront run experiment.yaml --set budget.trials=20 --export
    """
    from .experiment import load_experiment
    from .night import run as run_night
    from .night import runnable_or_error
    from .screens import plan_lines

    loaded = load_experiment(experiment, overrides, smoke=smoke)
    if dry_run:
        click.echo("\n".join(plan_lines(loaded, runnable_or_error(loaded))))
        return 0
    result = run_night(loaded, fresh=fresh, say=_terminal())
    answer = result.answer
    _print_answer(answer, style)
    stopped = result.exit_code == INTERRUPTED
    _print_next_steps(answer, experiment, result.link, result.seconds, interrupted=stopped)
    if exported and answer.front.recommended is not None:
        _export(answer, answer.front.recommended, None, keep=True)
    return result.exit_code


def _terminal() -> Callable[[str], None]:
    """Lines to stderr as it is now: while Ray is up, its own chatter goes to a file."""
    stream = os.fdopen(os.dup(2), "w", buffering=1)
    return lambda line: print(line, file=stream)


def _print_answer(answer: "Answer", style: str, limits: "Sequence[Limit] | None" = None) -> None:
    from .screens import answer_record, front_table, picks_lines, print_table
    from .tables import trials_csv

    if style == "json":
        click.echo(json.dumps(answer_record(answer), indent=2))
    elif style == "csv":
        click.echo(trials_csv(answer, answer.front.trials), nl=False)
    elif answer.front.picks:
        print_table(front_table(answer))
        click.echo("\n".join(picks_lines(answer)))
    else:
        click.echo(_misses(answer, answer.experiment.limits if limits is None else limits))


def _misses(answer: "Answer", limits: "Sequence[Limit]") -> str:
    """Why there is no front: the nearest misses, or the baseline's failure."""
    from .picks import nearest_misses

    measured = [trial for trial in answer.trials if trial.measured]
    if not measured:
        return answer.headline()
    lines = ["nothing keeps the limits; the nearest:"]
    for trial in nearest_misses(measured, limits):
        told = ", ".join(
            f"{limit.metric} {trial.value(limit.metric):.4g} (limit {limit})"
            for limit in limits
            if not limit.kept(trial.value(limit.metric))
        )
        lines.append(f"  {trial.name()}: {told}")
    return "\n".join(lines)


def _print_next_steps(
    answer: "Answer", written: Path, link: str, seconds: float, *, interrupted: bool
) -> None:
    if interrupted:
        click.echo(f"\ninterrupted; `tunefront run {written}` goes on", err=True)
    from .answer import early_ends

    counts = f"{len(answer.trials)} trials, {len(answer.front.trials)} on the front"
    ends = early_ends(answer.trials)
    click.echo("; ".join(filter(None, (f"\n{counts}, {seconds / 60:.1f} min", ends))), err=True)
    click.echo(f"\n  {answer.headline()}\n", err=True)
    if link:
        click.echo(f"front:  {link}", err=True)
        click.echo(f"        (served by `tunefront ui {written}`)", err=True)
    if answer.experiment.smoke:
        click.echo(
            f"a quick check, its figures don't count; next: tunefront run {written}", err=True
        )
    elif answer.baseline is None:
        click.echo(f"next:   tunefront show {written} 0, for the baseline's last words", err=True)
    else:
        click.echo(f"next:   tunefront show {written} | pick | compare | export", err=True)


@tunefront.command()
@_experiment
@_format
def status(experiment: Path, style: str) -> None:
    """Say how far a search is."""
    from .night import recorded_answer
    from .screens import answer_record

    answer = recorded_answer(_load(experiment))
    if style == "json":
        click.echo(json.dumps(answer_record(answer), indent=2))
        return
    counts: dict[str, int] = {}
    for trial in answer.trials:
        counts[trial.status] = counts.get(trial.status, 0) + 1
    wanted = answer.experiment.budget.trials
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    click.echo(f"{answer.experiment.name}: {len(answer.trials)} of {wanted or '?'} trials ({told})")
    if any(trial.status != "running" for trial in answer.trials):
        click.echo(f"front: {len(answer.front.trials)} trials; {answer.headline()}")
    for trial in answer.trials:
        if trial.status == "failed" and trial.evaluation is not None:
            click.echo(f"failed: {trial.name()}: {trial.cause}: {trial.evaluation.message[:120]}")


@tunefront.command()
@_experiment
@click.argument("trial", required=False)
@click.option("--all", "everything", is_flag=True, help="All trials, not only the front.")
@_format
def show(experiment: Path, trial: str | None, everything: bool, style: str) -> None:
    """Show the front and the picks, all trials, or everything about one trial.

    \b
    tunefront show experiments/minilm
    tunefront show experiments/minilm 38
    """
    from .night import recorded_answer
    from .screens import print_table, trial_lines, trials_table
    from .tables import trial_record, trials_csv, trials_json

    answer = recorded_answer(_load(experiment))
    if trial is not None:
        found = _find(answer, trial)
        if style == "csv":
            click.echo(trials_csv(answer, [found]), nl=False)
        elif style == "json":
            click.echo(json.dumps(trial_record(found), indent=2))
        else:
            click.echo("\n".join(trial_lines(answer, found)))
    elif not everything:
        _print_answer(answer, style)
    elif style == "table":
        print_table(trials_table(answer, answer.trials))
    else:
        table = trials_json(answer.trials) if style == "json" else trials_csv(answer)
        click.echo(table.rstrip("\n"))


@tunefront.command()
@_experiment
@click.option("--limit", "limits", multiple=True, metavar="'METRIC<=NUMBER'", help="A limit.")
@click.option("--prefer", metavar="METRIC", help="The metric that decides.")
@_format
def pick(experiment: Path, limits: Sequence[str], prefer: str | None, style: str) -> int:
    """Pick from what is recorded, with other limits or preferences; nothing is run.

    \b
    tunefront pick experiments/minilm --limit 'latency_ms<=12' --prefer throughput
    """
    from .answer import answer_of
    from .confirmation import Confirmation
    from .night import EXIT_CODES
    from .objective import Limit, check_limits
    from .study import Study

    loaded = _load(experiment)
    study = Study.read(loaded)
    chosen = tuple(Limit.parse_expression(text, loaded.metrics) for text in limits)
    named = {limit.metric for limit in chosen}
    kept = tuple(limit for limit in loaded.limits if limit.metric not in named)
    check_limits((*kept, *chosen))
    confirmation = Confirmation.from_dict(study.confirmation())
    answer = answer_of(loaded, study.trials(), confirmation, (*kept, *chosen), prefer)
    _print_answer(answer, style, (*kept, *chosen))
    return 0 if answer.front.trials else EXIT_CODES["nothing within limits"]


@tunefront.command()
@_experiment
@click.argument("trials", nargs=-1, required=True)
def compare(experiment: Path, trials: Sequence[str]) -> None:
    """Show trials side by side; `baseline` and the picks' names are trials, too.

    \b
    tunefront compare experiments/minilm baseline recommended 12
    """
    from .night import recorded_answer
    from .screens import compare_table, print_table

    answer = recorded_answer(_load(experiment))
    print_table(compare_table(answer, [_find(answer, name) for name in trials]))


@tunefront.command()
@_experiment
@click.argument("trial", default="recommended")
@click.option("--output", type=click.Path(path_type=Path), help="The folder to write.")
def export(experiment: Path, trial: str, output: Path | None) -> None:
    """Export a trial as a folder that runs elsewhere, and verify it.

    \b
    tunefront export experiments/minilm
    tunefront export experiments/minilm smallest --output deploy/minilm
    """
    from .night import recorded_answer

    answer = recorded_answer(_load(experiment))
    _export(answer, _find(answer, trial), output)


def _export(answer: "Answer", trial: "Trial", output: Path | None, *, keep: bool = False) -> None:
    """Export and verify; with `keep`, an export that is there already is only verified."""
    from .export import default_folder, export_trial
    from .night import recorded_setting
    from .screens import print_table, verification_table
    from .verify import verify as verify_folder

    folder = output or default_folder(answer, trial)
    if keep and folder.is_dir():
        click.echo(f"{trial.name()} is exported already", err=True)
        verification = verify_folder(folder)
    else:
        click.echo(f"exporting {trial.name()}", err=True)
        setting = recorded_setting(answer.experiment)
        verification = export_trial(answer, trial, setting, folder)
    print_table(verification_table(verification))
    told = "exported and verified" if verification.passed else "NOT what was exported"
    click.echo(f"{told}: {folder}")


@tunefront.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def verify(folder: Path, style: str) -> int:
    """Check an export: files, outputs, choices, speed, memory; exit code 5 where it differs."""
    from dataclasses import asdict

    from tunefront.spaces import ExportError

    from .screens import print_table, verification_table
    from .verify import verify as verify_folder

    try:
        verification = verify_folder(folder)
    except ExportError as error:
        click.echo(f"error: {error}", err=True)
        return MISMATCH
    if style == "json":
        click.echo(json.dumps([asdict(check) for check in verification.checks], indent=2))
    else:
        print_table(verification_table(verification))
        click.echo("verified" if verification.passed else "NOT what was exported")
    return 0 if verification.passed else MISMATCH


@tunefront.command()
@_experiment
@click.option("--port", default=5000, help="Where to serve.")
@click.option("--detach", is_flag=True, help="Leave the server running in the background.")
@click.option("--stop", is_flag=True, help="End a server that was left running.")
@click.option("--open/--no-open", "opened", default=True, help="Open a browser.")
def ui(experiment: Path, port: int, detach: bool, stop: bool, opened: bool) -> None:
    """Serve MLflow on this machine, and open it on the front."""
    from .ui import serve, stop_server

    loaded = _load(experiment)
    if stop:
        click.echo(stop_server(loaded), err=True)
        return
    serve(
        loaded,
        port=port,
        detach=detach,
        opened=opened,
        say=lambda line: click.echo(line, err=True),
    )


@tunefront.command()
@click.option("--limit", metavar="SIZE", help="Evict down to a size now, such as 10GB.")
@click.option("--clear", "cleared", is_flag=True, help="Remove all that no search is using.")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def cache(limit: str | None, cleared: bool, style: str) -> None:
    """Show what stages left on this machine, or make it smaller; searches build it again.

    \b
    tunefront cache
    tunefront cache --limit 10GB
    TUNEFRONT_CACHE_LIMIT_GB=20 tunefront run experiment.yaml   a limit that lasts
    """
    from .cache import clear_cache, parse_size, read_cache, shrink_cache
    from .screens import cache_record, cache_table, print_table, removed_line

    if limit is not None and cleared:
        raise click.UsageError("--limit and --clear: one of the two")
    wanted = None if limit is None else parse_size(limit)
    removed = clear_cache() if cleared else [] if wanted is None else shrink_cache(wanted)
    found = read_cache()
    if style == "json":
        click.echo(json.dumps(cache_record(found, removed), indent=2))
        return
    print_table(cache_table(found))
    if cleared or wanted is not None:
        click.echo(removed_line(found, removed, 0 if wanted is None else wanted), err=True)


tunefront.add_command(report)


def _load(written: Path) -> Any:
    from .experiment import load_experiment

    return load_experiment(written)


def _find(answer: "Answer", written: str) -> "Trial":
    """A trial by number, by its name's first word, as `baseline`, or as a pick's name."""
    from tunefront.spaces import ExperimentError, did_you_mean

    picks = {pick.name: pick.trial for pick in answer.front.picks}
    if written == "baseline" and answer.trials:
        return answer.trials[0]
    if written in picks:
        return picks[written]
    number = written.split()[0] if written.split() else ""
    if number.isdigit() and int(number) < len(answer.trials):
        return answer.trials[int(number)]
    known = [*picks, "baseline"]
    raise ExperimentError(
        f"trial {written!r} does not exist; there are 0 to {len(answer.trials) - 1}"
        f"{did_you_mean(written, known)}"
    )
