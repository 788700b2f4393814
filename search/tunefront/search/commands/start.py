"""Before the first night: a file to start from, and what this machine offers."""

from pathlib import Path

import click

from .shared import say


@click.command()
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
    from tunefront.search.starter import write_starter

    write_starter(path, task=task, model=model, data=data)
    say(f"wrote {path}; next: tunefront run {path} --dry-run")


@click.command()
@click.option("--choices", is_flag=True, help="List every choice with its values.")
def doctor(choices: bool) -> None:
    """Say what this machine offers and what is missing."""
    from tunefront.search.screens import choices_lines, doctor_lines
    from tunefront.spaces import detect_hardware

    lines = choices_lines() if choices else doctor_lines(detect_hardware())
    click.echo("\n".join(lines))
