"""The error hierarchy; each message states the rule, the value and the next step."""

import difflib
from collections.abc import Iterable
from typing import Literal

FailureCause = Literal[
    "oom",
    "crash",
    "timeout",
    "unsupported",
    "invalid output",
    "not applied",
    "disk full",
    "device",
    "exception",
]
"""Causes of a failed trial; recorded with the trial.

`device`: the GPU is broken, lost or busy, or can't be used from this process; nothing follows for
the configuration.
"""


class TunefrontError(Exception):
    """Root of all errors that Tunefront raises deliberately."""


class SpaceError(TunefrontError):
    """An invalid choice, rule or configuration."""


class ExperimentError(TunefrontError):
    """An invalid experiment file; the message names file, line, key and rule."""


class WorkloadError(TunefrontError):
    """An invalid model, data file or user callable."""


class CacheError(TunefrontError):
    """An invalid cache size."""


class MachineError(TunefrontError):
    """A machine on which a search can't run or isn't safe; the message states what to change."""


class ClusterError(TunefrontError):
    """A cluster that can't be reached."""


class StudyError(TunefrontError):
    """A record of trials that can't be opened or belongs to another experiment."""


class TrackingError(TunefrontError):
    """An MLflow store that can't be reached or written."""


class ExportError(TunefrontError):
    """An export that can't be written, read or trusted."""


class EvaluationError(TunefrontError):
    """A candidate that could not be built or measured; it fails the trial, not the search.

    Args:
        message: One-line message.
        cause: Class of the failure.
    """

    def __init__(self, message: str, cause: FailureCause = "exception") -> None:
        super().__init__(message)
        self.cause: FailureCause = cause


def text_of(error: BaseException) -> str:
    """Return an error's text; empty if the error, of a user's class, fails to give it."""
    try:
        return str(error)
    except Exception:
        return ""


def named_error(error: BaseException) -> str:
    """Return an error's class and text: `ValueError: not a number`."""
    return f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` with the nearest known name, or a list of the known names."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(options)}" if options else ""
