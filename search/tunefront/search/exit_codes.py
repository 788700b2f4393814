"""The exit codes of the command line."""

import signal
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit code means; the README and docs list the same numbers."""

    DONE = 0
    INTERNAL_ERROR = 1
    USAGE = 2
    NO_TRIAL_WITHIN_LIMITS = 3
    BASELINE_FAILED = 4
    VERIFICATION_FAILED = 5
    INTERRUPTED = 130
    TERMINATED = 143


def code_of_interrupt(error: BaseException | None) -> ExitCode:
    """Return the exit code of a command that Ctrl-C or SIGTERM has ended.

    Args:
        error: The KeyboardInterrupt; its argument is the signal if it was SIGTERM.
    """
    by_signal = error is not None and signal.SIGTERM in error.args
    return ExitCode.TERMINATED if by_signal else ExitCode.INTERRUPTED
