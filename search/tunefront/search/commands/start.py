"""Before the first night: a file to start from, what this machine offers and keeps."""

import json
from pathlib import Path

import click

from .shared import say


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=Path("experiment.yaml"))
@click.option(
    "--task",
    default="text-embedding",
    help="causal-lm, text-embedding, text-classification, image-classification or custom.",
)
@click.option("--model", default="organisation/name", help="A folder or a hub id.")
@click.option("--data", default="data.jsonl", help="Your data file.")
def init_command(path: Path, task: str, model: str, data: str) -> None:
    """Write an experiment file to start from, with every choice this machine can run.

    \b
    tunefront init
    tunefront init llm.yaml --task causal-lm --model ./my-llama --data heldout.jsonl
    """
    from tunefront.search.experiment.starter import write_starter

    write_starter(path, task=task, model=model, data=data)
    say(f"wrote {path}; next: tunefront run {path} --dry-run")


@click.command("doctor")
@click.option("--choices", is_flag=True, help="List every choice with its values.")
def doctor_command(choices: bool) -> None:
    """Say what this machine offers and what is missing."""
    from tunefront.search.terminal.plan import choices_lines, doctor_lines
    from tunefront.spaces import detect_hardware

    lines = choices_lines() if choices else doctor_lines(detect_hardware())
    click.echo("\n".join(lines))


@click.command("cache")
@click.option("--limit", metavar="SIZE", help="Evict down to a size now, such as 10GB.")
@click.option("--clear", "cleared", is_flag=True, help="Remove all that no search is using.")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def cache_command(limit: str | None, cleared: bool, style: str) -> None:
    """Show what stages left on this machine, or make it smaller; searches build it again.

    \b
    tunefront cache
    tunefront cache --limit 10GB
    TUNEFRONT_CACHE_LIMIT_GB=20 tunefront run experiment.yaml   a limit that lasts
    """
    from tunefront.evaluators.store.usage import clear_cache, read_cache, shrink_cache
    from tunefront.search.cache import parse_size
    from tunefront.search.terminal.listings import cache_record, cache_table, removed_line
    from tunefront.search.terminal.tables import print_table

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
        say(removed_line(found, removed, 0 if wanted is None else wanted))
