"""The contract of a runtime: it builds a model into a folder and opens the folder."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.evaluators.interfaces.endpoint import Endpoint
from tunefront.evaluators.interfaces.generation import GenerationRequest, ServerSpec
from tunefront.evaluators.interfaces.tensors import Inputs, TensorEndpoint, TensorSpec
from tunefront.evaluators.workloads.base import Architecture
from tunefront.spaces import Configuration, EvaluationError, Hardware

if TYPE_CHECKING:
    import torch

CHECKPOINT = "checkpoint"
"""Name of the shared folder with the checkpoint of a changed model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The input of a build.

    Attributes:
        module: Returns the module after the techniques: fp32, on the CPU, in eval mode; the same
            one at every call. It is loaded at the first call.
        shared: Returns the folder of this name that all builds of the module share; if it does not
            exist, the function given fills a new, empty folder.
        hardware: The target machine.
        inputs: Inputs of the module; empty if the workload's interface is not `tensors`.
        calibration: Real requests of the interface `tensors`, for activation ranges; the first is
            also the example request.
        prompts: Real requests of the interface `generation`.
        interface: Name of the workload's interface; empty if the runtime has only one.
        architecture: Kind of network of the module, as declared by the workload.
        unchanged: The checkpoint that the user named, if no technique changes the model.
        server: The server of the workload, if it names one.
    """

    module: "Callable[[], torch.nn.Module]"
    shared: Callable[[str, Callable[[Path], None]], Path]
    hardware: Hardware
    inputs: tuple[TensorSpec, ...] = ()
    calibration: Sequence[Inputs] = ()
    prompts: Sequence[GenerationRequest] = ()
    interface: str = ""
    architecture: Architecture = "other"
    unchanged: Path | None = None
    server: ServerSpec | None = None

    @property
    def example(self) -> Inputs:
        """A real request with at least two items."""
        return self.calibration[0]

    def pretrained(self) -> "torch.nn.Module | None":
        """Return the `transformers` model inside the module; None if there is none."""
        from tunefront.evaluators.workloads.modules import pretrained_of

        return pretrained_of(self.module())

    def checkpoint(self) -> Path:
        """Return a folder with the model's `config.json` and `*.safetensors`.

        Only techniques make it necessary to load the torch module for that.

        Raises:
            EvaluationError: If the model has no checkpoint (cause "unsupported").
        """
        return self.unchanged or self.shared(CHECKPOINT, self._save_checkpoint)

    def _save_checkpoint(self, folder: Path) -> None:
        pretrained = self.pretrained()
        if pretrained is None:
            raise EvaluationError(
                f"{type(self.module()).__name__} is no model of transformers and has no checkpoint "
                "that a runtime could convert",
                cause="unsupported",
            )
        pretrained.save_pretrained(folder)  # type: ignore[operator]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A built candidate.

    Attributes:
        folder: The folder that `Runtime.build` filled.
        settings: What it returned.
    """

    folder: Path
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """How an export runs without tunefront.

    Attributes:
        script: A short Python module that opens and runs the folder. It has the folder in `HERE`
            and defines `load()` and `run(model, request)`. For `tensors` it imports numpy as `np`
            and a request is named arrays; for `generation` `run(model, prompt, new_tokens)`
            returns a list of token ids; for `http` `run(address, request)` returns the value. If
            `load()` returns an endpoint, serve.py serves `PARALLEL` requests together; otherwise
            one at a time. It becomes run.py.
        requirements: Distributions that the script needs, by the name on the package index.
        not_served: Why the folder can't be served over HTTP by one process; empty if it can.
        compiled: Whether the folder holds code compiled for this processor, which needs the
            system's OpenMP library.
        gpu: Whether it runs on an NVIDIA GPU; `deployment_of` sets it by the configuration.
        files: Further files of the export: their content by name.
        program: Program that the script starts, which is not part of the export; empty if none.
    """

    script: str
    requirements: tuple[str, ...]
    not_served: str = ""
    compiled: bool = False
    gpu: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    program: str = ""


OpenFolder = Callable[[Path], TensorEndpoint]
"""Opens a folder that holds a build of one candidate."""


class Runtime(ABC):
    """A runtime: builds a model for one way of running it, and opens the result."""

    name: str

    @abstractmethod
    def build(
        self, source: Source, configuration: Configuration, folder: Path
    ) -> Mapping[str, object]:
        """Fill an empty folder with all files that `open` needs, without pickle.

        A runtime that starts a server writes how it is started: a candidate is always a folder.

        Args:
            source: The model and its calibration requests.
            configuration: The complete configuration.
            folder: The empty folder.

        Returns:
            Settings for `open` that are not in the files, as plain JSON values.

        Raises:
            EvaluationError: If the model can't be built (cause "unsupported").
        """

    @abstractmethod
    def open(self, built: Built, configuration: Configuration) -> Endpoint:
        """Open a folder that `build` filled, ready to be called.

        Args:
            built: The folder and its settings.
            configuration: The complete configuration, with the execution stage's choices: threads,
                batch size and so on.
        """

    def deployment(self, built: Built, configuration: Configuration) -> Deployment | None:
        """Return how the folder runs elsewhere; None if it can't be exported."""
        return None
