"""The record of a built candidate, stored next to its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """Device, number format and ranks that a model is built for: choices of the runtime stage.

    Attributes:
        device: `cpu` or `cuda`.
        precision: `fp32`, `bf16` or `fp16`.
        quantization: A value of the choice `quantization`.
        tensor_parallel: Number of ranks that share the model.
    """

    device: str = "cpu"
    precision: str = "fp32"
    quantization: str = "none"
    tensor_parallel: int = 1

    @classmethod
    def of(cls, configuration: Configuration) -> "Numerics":
        """Return the numerics of a complete configuration."""
        return cls(
            device=configuration.text("device"),
            precision=configuration.text("precision"),
            quantization=configuration.text("quantization"),
            tensor_parallel=configuration.integer("tensor_parallel"),
        )


CANDIDATE_FILE = "candidate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord:
    """Properties of a built candidate.

    Weights are counted in tensors of two or more dimensions.

    Attributes:
        runtime: Name of the runtime.
        numerics: Device, number format and ranks that it was built for.
        settings: Values that the runtime's `build` returned and its `load` needs.
        parameters: Number of weights of the module that it was built from.
        reference_parameters: Number of weights of the reference module, before any technique.
        sparsity: Share of zeros among the weights of the module that it was built from.
        threads: Default number of threads that it is opened with.
    """

    runtime: str
    numerics: Numerics
    settings: Mapping[str, object]
    parameters: int
    reference_parameters: int
    sparsity: float = 0.0
    threads: int = 1

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
            return from_plain(cls, json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise ExportError(f"{path} is no readable candidate record: {error}") from error
