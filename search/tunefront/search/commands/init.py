"""`tunefront init`: write a starter experiment file."""

from pathlib import Path

import click

from .arguments import print_message


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=Path("experiment.yaml"))
@click.option(
    "--task",
    default="text-embedding",
    help="causal-lm, text-generation, text-embedding, text-classification, image-classification, "
    "http or custom.",
)
@click.option("--model", default="organisation/name", help="A folder or a hub id.")
@click.option("--data", default="data.jsonl", help="Your data file.")
def init_command(path: Path, task: str, model: str, data: str) -> None:
    """Write a starter experiment file with every choice that this machine can run.

    On a machine with an NVIDIA GPU the experiment is for the GPU.

    \b
    tunefront init
    tunefront init llm.yaml --task causal-lm --model ./my-llama --data heldout.jsonl
    """
    from tunefront.search.experiment.starter import write_starter
    from tunefront.search.text import command_text

    write_starter(path, task=task, model=model, data=data)
    print_message(f"wrote {path}; next: {command_text('run', path, '--dry-run')}")
