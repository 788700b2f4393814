"""The exit codes of the command line."""

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
