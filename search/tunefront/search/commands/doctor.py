"""`tunefront doctor`: report hardware, installed runtimes and missing libraries."""

import click


@click.command("doctor")
@click.option("--choices", is_flag=True, help="List every choice with its values.")
def doctor_command(choices: bool) -> None:
    """Report this machine's hardware, runtimes and number formats, and what is missing."""
    from tunefront.search.terminal.plan import choices_lines, doctor_lines
    from tunefront.spaces import detect_hardware

    lines = choices_lines() if choices else doctor_lines(detect_hardware())
    click.echo("\n".join(lines))
