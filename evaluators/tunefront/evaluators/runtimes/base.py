"""The contracts of a runtime (module -> folder -> candidate) and of an open candidate."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.evaluators.evaluation.built import Numerics
from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.statistics.arrays import Array
from tunefront.evaluators.workloads.base import Architecture
from tunefront.spaces import Hardware

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The input of a build.

    Attributes:
        module: The module after the techniques: fp32, on the CPU, in eval mode.
        inputs: Inputs of the module.
        calibration: Real requests, for activation ranges; the first is also the example request.
        shared: Returns the folder of this name that all builds of the module share; if it does not
            exist, the function given fills a new, empty folder.
        hardware: The target machine.
        architecture: Kind of network of the module, as declared by the workload.
        pretrained: The `transformers` model inside the module, if there is one; its weights can be
            saved as a checkpoint.
    """

    module: "torch.nn.Module"
    inputs: tuple[TensorSpec, ...]
    calibration: Sequence[Inputs]
    shared: Callable[[str, Callable[[Path], None]], Path]
    hardware: Hardware
    architecture: Architecture = "other"
    pretrained: "torch.nn.Module | None" = None

    @property
    def example(self) -> Inputs:
        """A real request with at least two items."""
        return self.calibration[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The read-back of a running candidate: its actual properties.

    Attributes:
        runtime: Name of the runtime.
        device: Device it runs on.
        precision: Floating-point format it computes in.
        quantization: Quantization of the running model.
        weight_bits: Mean bits per weight, over weight tensors of at least two dimensions.
        sparsity: Share of zeros among these weights.
        parameters: Number of these weights.
        threads: Number of threads it can use.
    """

    runtime: str
    device: str
    precision: str
    quantization: str
    weight_bits: float
    sparsity: float
    parameters: int
    threads: int


class Candidate(ABC):
    """An open candidate, which can be called."""

    @abstractmethod
    def __call__(self, inputs: Inputs) -> Sequence[Array]:
        """Run one request and return the module's outputs; floating-point outputs are fp32."""

    @abstractmethod
    def facts(self) -> Facts:
        """Return the actual properties of the running model.

        This can allocate memory; call it after memory has been measured.
        """

    def close(self) -> None:
        """End the processes that the candidate started, if any."""
        return


class Runtime(ABC):
    """A runtime: builds a torch module for one way of running it, and opens the result."""

    name: str

    @abstractmethod
    def build(self, source: Source, numerics: Numerics, folder: Path) -> Mapping[str, object]:
        """Fill an empty folder with all files that `load` needs, without pickle.

        Returns:
            Settings for `load` that are not in the files, as plain JSON values.

        Raises:
            EvaluationError: If the module can't be built (cause "unsupported").
        """

    @abstractmethod
    def load(
        self, folder: Path, numerics: Numerics, settings: Mapping[str, object], threads: int
    ) -> Candidate:
        """Open a folder that `build` filled, ready to run.

        Args:
            folder: The folder that `build` filled.
            numerics: The `numerics` of the build.
            settings: The return value of `build`.
            threads: Number of threads of this process.
        """

    @abstractmethod
    def script(self, numerics: Numerics, settings: Mapping[str, object], threads: int) -> str:
        """Return a short Python module that opens and runs the folder without tunefront.

        It imports numpy as `np`, has its folder in `HERE`, and defines `load()` and
        `run(model, inputs)`; run.py contains this module, and serve.py imports run.py.
        """
