"""A validated experiment file that is being resolved, with its error messages."""

from collections.abc import Sequence
from dataclasses import dataclass

from tunefront.search.experiment.document import Document
from tunefront.search.experiment.schema import ExperimentSection
from tunefront.spaces import ExperimentError, Hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentFile:
    """A validated experiment file.

    Attributes:
        document: The values as written, with their lines.
        section: The validated values.
        hardware: The machine.
        recorded: Whether it is restored from a record: checks that depend on the present machine
            are skipped.
    """

    document: Document
    section: ExperimentSection
    hardware: Hardware
    recorded: bool = False

    def fail(self, key: Sequence[str], message: object) -> ExperimentError:
        """Return the error of a key, with file and line."""
        return ExperimentError(f"{self.document.place(key)}: {message}")
