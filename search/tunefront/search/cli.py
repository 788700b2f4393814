"""The command line: data on stdout, everything else on stderr, imports only when needed."""

import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

import click

from .commands import COMMANDS
from .exit_codes import ExitCode


def main() -> NoReturn:
    """Run the command line; errors of ours become one message and the right exit code."""
    from tunefront.spaces import TunefrontError

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = tunefront.main(standalone_mode=False)
    except click.exceptions.Abort as error:  # click's word for KeyboardInterrupt
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
    """SIGTERM ends a command as Ctrl-C does: what was begun is closed."""
    raise KeyboardInterrupt(number)


def _interrupted(error: BaseException | None) -> int:
    click.echo("stopped; the same command goes on from here", err=True)
    by_signal = error is not None and signal.SIGTERM in error.args
    return ExitCode.TERMINATED if by_signal else ExitCode.INTERRUPTED


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


for command in COMMANDS:
    tunefront.add_command(command)


if __name__ == "__main__":
    main()
