"""tunefront doctor: what this machine offers."""

import click


@click.command("doctor")
@click.option("--choices", is_flag=True, help="List every choice with its values.")
def doctor_command(choices: bool) -> None:
    """Say what this machine offers and what is missing."""
    from tunefront.search.terminal.plan import choices_lines, doctor_lines
    from tunefront.spaces import detect_hardware

    lines = choices_lines() if choices else doctor_lines(detect_hardware())
    click.echo("\n".join(lines))
