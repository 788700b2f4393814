"""The contract of trackers: where trials and results are shown in addition to the record."""

from pathlib import Path
from typing import Protocol

from tunefront.search.results.result import Result
from tunefront.search.study.trial import Trial


class Tracker(Protocol):
    """A store that shows the trials and the result of one search; MLflow's is `Projection`.

    Every method is idempotent: what the store already holds is not written again, so that a call
    after an interruption adds what is missing. Errors of the store are raised as they come.

    Attributes:
        obstacle: Why links can't use the store's saved views; empty if they can.
    """

    obstacle: str

    def write_trial(self, trial: Trial, result: Result) -> bool:
        """Write what the store lacks of an ended trial; return whether anything was written."""
        ...

    def write_result(self, result: Result, files: Path) -> str:
        """Write the result; return the address of the front.

        Args:
            result: The result; its trials have been written.
            files: Folder of the files that are stored with it: the report and the trials.
        """
        ...

    def link(self, result: Result) -> str:
        """Make the front of a running search reachable; return its address."""
        ...
