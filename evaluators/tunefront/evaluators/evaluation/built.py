"""The record of a built candidate, stored next to its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunefront.evaluators.isolation.codec import from_plain, to_plain
from tunefront.evaluators.measures.memory import folder_mb
from tunefront.evaluators.statistics.measurement import Measurement
from tunefront.spaces import Configuration, ExportError
from tunefront.spaces.metric import Metric

WEIGHTS_SIZE = Metric(
    name="weights_mb",
    unit="MB",
    direction="minimize",
    summary="size of the built model on disk",
    kind="memory",
)
BUILT_METRICS = (WEIGHTS_SIZE,)
"""Metrics of a built candidate that does not run."""


def built_measurements(folder: Path) -> dict[str, Measurement]:
    """Return the measurements of `BUILT_METRICS` of the candidate in a folder."""
    return {WEIGHTS_SIZE.name: Measurement.exact(folder_mb(folder), WEIGHTS_SIZE.unit)}


CANDIDATE_FILE = "candidate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord:
    """Properties of a built candidate.

    Weights are counted in tensors of two or more dimensions.

    Attributes:
        configuration: The configuration that it was built for: choices up to the runtime stage.
        settings: Values that the runtime's `build` returned and its `open` needs.
        parameters: Number of weights of the module that it was built from; 0 if no module was
            loaded.
        reference_parameters: Number of weights of the reference module, before any technique; 0 if
            no module was loaded.
        sparsity: Share of zeros among the weights of the module that it was built from.
        execution: Choices of the execution stage that it is opened with unless others are given.
        interface: Name of the interface by which it is called.
        extensions: Files with the extensions that it needs; relative to its folder in an export.
    """

    configuration: Configuration
    settings: Mapping[str, object]
    parameters: int
    reference_parameters: int
    sparsity: float = 0.0
    execution: Configuration = field(default_factory=lambda: Configuration({}))
    interface: str = "tensors"
    extensions: tuple[str, ...] = ()

    @property
    def complete(self) -> Configuration:
        """The complete configuration that it is opened with unless another is given."""
        return Configuration({**self.configuration, **self.execution})

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return self.configuration.text("runtime")

    def write(self, folder: Path) -> None:
        """Write `candidate.json` into a folder."""
        (folder / CANDIDATE_FILE).write_text(json.dumps(to_plain(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "CandidateRecord":
        """Read `candidate.json` of a folder.

        Raises:
            ExportError: If the file is missing or can't be read as a record.
        """
        path = folder / CANDIDATE_FILE
        try:
            read = from_plain(cls, json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise ExportError(f"{path} is no readable candidate record: {error}") from error
        return replace(read, extensions=tuple(str(folder / one) for one in read.extensions))
