"""The contracts of a runtime (torch module -> folder -> something that runs) and of a candidate."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
    """What a runtime builds from.

    Attributes:
        module: The module after the techniques: fp32, on the CPU, in eval mode.
        inputs: The module's inputs.
        calibration: Real requests, for ranges of activations; the first serves as example.
        shared: Finds or makes a folder that all builds of this module share, by its name; the
            maker gets an empty folder to fill.
        hardware: The machine that it is built for.
        architecture: What kind of network the module is, as the workload declares it.
        pretrained: The model of `transformers` inside the module, where there is one: its weights
            can be saved as a checkpoint.
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
        """One real request of at least two items."""
        return self.calibration[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a running candidate says it really is.

    Attributes:
        runtime: What runs it.
        device: Where it runs.
        precision: The floating-point format it computes in.
        quantization: The quantization found in what runs.
        weight_bits: Mean bits of a weight, over the weights of two and more dimensions.
        sparsity: Share of zeros among these weights.
        parameters: How many of these weights there are.
        threads: Threads it may use.
    """

    runtime: str
    device: str
    precision: str
    quantization: str
    weight_bits: float
    sparsity: float
    parameters: int
    threads: int

    def to_dict(self) -> dict[str, str | float | int]:
        """Plain values for JSON."""
        return asdict(self)


class Candidate(ABC):
    """A configuration built: something that runs."""

    @abstractmethod
    def __call__(self, inputs: Inputs) -> Sequence[Array]:
        """One request in, the module's outputs out, floating-point outputs in fp32."""

    @abstractmethod
    def facts(self) -> Facts:
        """What it really is, read from what runs; may cost memory, so ask after measuring."""

    def close(self) -> None:
        """End the processes it started, if any."""
        return


class Runtime(ABC):
    """Builds a torch module for one way of running it, and opens what was built."""

    name: str

    @abstractmethod
    def build(self, source: Source, numerics: Numerics, folder: Path) -> Mapping[str, object]:
        """Fill an empty folder with all that `load` needs, without pickle.

        Returns:
            What `load` wants to know beside the files, as plain JSON values.

        Raises:
            EvaluationError: With the cause "unsupported" where the module can't be built.
        """

    @abstractmethod
    def load(
        self, folder: Path, numerics: Numerics, settings: Mapping[str, object], threads: int
    ) -> Candidate:
        """Open what `build` left, ready to run with `threads` threads.

        Args:
            folder: What `build` filled.
            numerics: As they were for `build`.
            settings: What `build` returned.
            threads: Threads of this process.
        """

    @abstractmethod
    def script(self, numerics: Numerics, settings: Mapping[str, object], threads: int) -> str:
        """A short Python module that opens and runs the folder without tunefront.

        It imports numpy as `np`, knows its folder as `HERE`, and defines `load()` and
        `run(model, inputs)`: what run.py and serve.py have in common.
        """
