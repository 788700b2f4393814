"""The command line: data on stdout, everything else on stderr; imports are deferred."""

import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

import click

from .commands import COMMANDS
from .exit_codes import ExitCode, code_of_interrupt


def main() -> NoReturn:
    """Run the command line; a `TunefrontError` becomes one message and exit code 2."""
    from tunefront.spaces import TunefrontError

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = tunefront.main(standalone_mode=False)
    except click.exceptions.Abort as error:  # click converts KeyboardInterrupt to Abort
        code = _interrupted(error.__cause__)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except TunefrontError as error:
        click.echo(f"error: {error}", err=True)
        code = ExitCode.USAGE
    except KeyboardInterrupt as error:
        code = _interrupted(error)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """Handle SIGTERM like Ctrl-C: raise KeyboardInterrupt, so that open resources are closed."""
    raise KeyboardInterrupt(number)


def _interrupted(error: BaseException | None) -> int:
    click.echo("stopped; run the same command to resume", err=True)
    return code_of_interrupt(error)


class _Suggesting(click.Group):
    """A command group that suggests the nearest command for an unknown one."""

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
    """Search for the best ways to run a model, and export the recommended one.

    \b
    tunefront init                      write a starter experiment.yaml
    tunefront run experiment.yaml       search and confirm; repeat to resume
    tunefront show experiment.yaml      print the front and the picks
    tunefront export experiment.yaml    export the recommended trial as a folder
    """


for command in COMMANDS:
    tunefront.add_command(command)


if __name__ == "__main__":
    main()
