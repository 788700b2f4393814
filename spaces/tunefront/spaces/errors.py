"""The one tree of errors: each states the rule, the value and the next step."""

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
    "exception",
]
"""How a trial can fail; kept with the trial."""


class TunefrontError(Exception):
    """Root of everything Tunefront raises on purpose."""


class SpaceError(TunefrontError):
    """A choice, a rule or a configuration that can't stand as written."""


class ExperimentError(TunefrontError):
    """An experiment file that can't be used; the message names file, line, key and rule."""


class WorkloadError(TunefrontError):
    """A model, a data file or a user's callable that can't be used."""


class CacheError(TunefrontError):
    """A size of the cache that can't be read."""


class ClusterError(TunefrontError):
    """A cluster that can't be reached."""


class StudyError(TunefrontError):
    """A record of trials that can't be opened or doesn't belong to this experiment."""


class TrackingError(TunefrontError):
    """An MLflow store that can't be reached or written."""


class ExportError(TunefrontError):
    """An export that can't be written, read or trusted."""


class EvaluationError(TunefrontError):
    """A candidate that could not be built or measured; a result of the trial, not of the night.

    Args:
        message: One line for people.
        cause: The class of the failure.
    """

    def __init__(self, message: str, cause: FailureCause = "exception") -> None:
        super().__init__(message)
        self.cause: FailureCause = cause


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known name, or a list of the known ones."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(options)}" if options else ""
