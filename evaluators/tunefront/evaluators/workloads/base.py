"""The contract of a workload: a model, its data and its quality metric."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from tunefront.evaluators.interfaces.base import RequestT
from tunefront.evaluators.interfaces.generation import (
    GenerationEndpoint,
    GenerationRequest,
    ModelLimits,
)
from tunefront.evaluators.interfaces.http import HttpEndpoint, HttpRequest
from tunefront.evaluators.interfaces.load import Load
from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import Configuration, EvaluationError, GenerationMemory
from tunefront.spaces.metric import Metric

from .outputs import Sample
from .quality import Quality

if TYPE_CHECKING:
    from pathlib import Path

    import torch

Run = Callable[[Inputs], Sequence[Array]]
"""A callable that runs a candidate on one request and returns the module's outputs."""
EnoughItems = Callable[[Array, Array], bool]
"""A callable (items, weights) that returns whether evaluation can stop.

An item that has not been evaluated yet has weight 0.
"""
Architecture = Literal["decoder", "encoder", "vision", "other"]
"""The kind of network of a module; a runtime can choose its graph transformations by it.

`decoder`: a transformer that attends to earlier positions only; `encoder`: one that attends to all
positions; `vision`: a network over images; `other`: nothing is assumed.
"""


CallerT = TypeVar("CallerT")


class Workload(ABC, Generic[RequestT, CallerT]):
    """A workload: the model that is optimized, its data and its quality metric.

    Constructors only store their arguments; the methods do the work. Derive from `TensorWorkload`,
    `GenerationWorkload` or `HttpWorkload`.

    Attributes:
        task: Name of the task in experiment files.
        interface: Name of the interface by which candidates are called.
        metrics: Metrics that `quality` reports; the first is the primary one (see `quality_drop`).
        architecture: Kind of network of the model.
        files_are_complete: Whether `files` is all that model, requests and quality depend on.
            Otherwise the fingerprint also covers weights, requests, and what is read and imported
            below the experiment's folder while the workload is checked.
        compared_with_baseline: Whether the outputs of candidates are compared with those of the
            baseline, because there is no unchanged model to run.
        calls_checked: Requests of the reference's quality evaluation that are run while the
            workload is checked; a number, because what is read meanwhile is fingerprinted.
    """

    task: str
    interface: ClassVar[str]
    metrics: tuple[Metric, ...]
    architecture: Architecture = "other"
    files_are_complete: bool = False
    compared_with_baseline: ClassVar[bool] = False
    calls_checked: ClassVar[int] = 32

    def configure(self, configuration: Configuration) -> None:
        """Receive the configuration that is evaluated; called before any other method, if at all.

        Most workloads do not depend on it: techniques and runtimes apply the choices.
        """
        return

    @abstractmethod
    def load_module(self) -> "torch.nn.Module":
        """Load the reference module: fp32, on the CPU, in eval mode.

        Raises:
            WorkloadError: If the model is missing, unreadable or not trusted.
            EvaluationError: If the model is no torch module (cause "unsupported").
        """

    @abstractmethod
    def requests(self, batch_size: int, count: int) -> list[RequestT]:
        """Return `count` real requests of `batch_size` items each, the same ones at every call.

        The items are the same for every batch size: those of one fixed sequence, cut into batches.
        For speeds that hold for the data it is a random sample of it.

        Raises:
            WorkloadError: If the data can't be read; the message names file and line.
        """

    @abstractmethod
    def quality(
        self,
        run: CallerT,
        reference: Mapping[str, Array] | None,
        enough: EnoughItems | None = None,
    ) -> Quality:
        """Evaluate the quality of a candidate over the workload's items.

        Args:
            run: Runs the candidate: for `tensors` a function of one request, for `generation` the
                endpoint.
            reference: `predictions` of the reference, which is the unchanged model or the baseline
                (`compared_with_baseline`); None for the reference itself.
            enough: Called after each portion of the items; evaluation stops when it returns True.
                The metrics then cover the evaluated items only; the primary one is replaced and
                the others are left out (`moved`). None evaluates all items.

        Raises:
            EvaluationError: If outputs are not usable (cause "invalid output").
        """

    @property
    def primary(self) -> Metric:
        """The first of `metrics`: the metric that `quality_drop` is computed from."""
        return self.metrics[0]

    def metrics_left_out(self) -> Mapping[str, str]:
        """Return metrics of the task that `quality` can't report on this data, with the reasons."""
        return {}

    def loads(self) -> Sequence[Load]:
        """Return when the requests are sent, at each load level; one at a time by default."""
        return (Load(),)

    def reference(self, device: str = "cpu") -> CallerT | None:
        """Return the unchanged model, whose predictions candidates are compared with; or None.

        Args:
            device: Where it runs; it is passed only if it is not the processor.
        """
        return None

    def checkpoint(self) -> "Path | None":
        """Return the folder with the model's config.json and safetensors; None if it has none."""
        return None

    def samples(self, run: CallerT, quality: Quality) -> Sequence[Sample]:
        """Return example outputs for the items of `sequential.sampled`, the same ones for all.

        Args:
            run: Runs the candidate, as for `quality`.
            quality: Result of `quality` for this candidate.
        """
        return ()

    def memory(self) -> GenerationMemory | None:
        """Return what the memory of a model that generates text follows from; None if unknown.

        Configurations whose weights and KV cache can't fit are left out before anything starts.
        """
        return None

    def files(self) -> "Sequence[Path]":
        """Return the files and folders of the model and the data, for the fingerprint."""
        return ()

    def notes(self) -> Sequence[str]:
        """Return differences from the experiment file, such as a shorter maximum length."""
        return ()

    def save_processor(self, folder: "Path") -> None:
        """Save the tokenizer or image processor, if there is one, to a folder, for exports."""
        return


def no_module(task: str) -> EvaluationError:
    """Return the error of a task whose model is no torch module (cause "unsupported")."""
    return EvaluationError(
        f"task {task} has no torch module, which techniques and this runtime need",
        cause="unsupported",
    )


class TensorWorkload(Workload[Inputs, Run]):
    """A workload whose model is a torch module: tensors in, one tensor out.

    Attributes:
        inputs: Inputs of the module, in the order of its `forward`.
        served: Whether exports have a server that answers with the outputs.
    """

    interface = "tensors"
    served: ClassVar[bool] = True
    inputs: tuple[TensorSpec, ...]

    @property
    def sizes_vary(self) -> bool:
        """Whether items differ in a dimension, such as the length of a text."""
        return any(isinstance(size, str) for spec in self.inputs for size in spec.dims[1:])

    def reference(self, device: str = "cpu") -> Run:
        """Return a function that runs the unchanged module on a device."""
        from tunefront.evaluators.interfaces.torch_tensors import run_of

        module = self.load_module()
        return run_of(module if device == "cpu" else module.to(device), device)


class GenerationWorkload(Workload[GenerationRequest, GenerationEndpoint]):
    """A workload whose model generates text; requests are single prompts, whatever `batch_size`."""

    interface = "generation"
    architecture: Architecture = "decoder"

    def stop_tokens(self) -> Sequence[int]:
        """Return the tokens that end a response; none by default."""
        return ()

    def limits(self) -> ModelLimits | None:
        """Return the context and vocabulary of the model; None if they are not known."""
        return None

    def load_module(self) -> "torch.nn.Module":
        """Raise an error: engines convert the checkpoint, and techniques have no module.

        Raises:
            EvaluationError: Always (cause "unsupported").
        """
        raise no_module(self.task)

    def check_quality(self) -> None:
        """Check what the evaluation of quality needs besides model and data; nothing by default.

        Raises:
            WorkloadError: If it can't be evaluated.
        """
        return


class HttpWorkload(Workload[HttpRequest, HttpEndpoint]):
    """A workload whose candidate is a service over HTTP, whatever `batch_size`."""

    interface = "http"
    compared_with_baseline = True

    def load_module(self) -> "torch.nn.Module":
        """Raise an error: a service has no module.

        Raises:
            EvaluationError: Always (cause "unsupported").
        """
        raise no_module(self.task)
