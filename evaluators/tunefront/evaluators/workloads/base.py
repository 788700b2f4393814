"""The contract of a workload: a model, its data and its quality metric."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces import Configuration
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


class Workload(ABC):
    """A workload: the model that is optimized, its data and its quality metric.

    Constructors only store their arguments; the methods do the work.

    Attributes:
        task: Name of the task in experiment files.
        metrics: Metrics that `quality` reports; the first is the primary one (see `quality_drop`).
        inputs: Inputs of the module, in the order of its `forward`.
        architecture: Kind of network of the module.
    """

    task: str
    architecture: Architecture
    metrics: tuple[Metric, ...]
    inputs: tuple[TensorSpec, ...]

    def configure(self, configuration: Configuration) -> None:
        """Receive the configuration that is evaluated; called before any other method, if at all.

        Most workloads do not depend on it: techniques and runtimes apply the choices.
        """
        return

    @abstractmethod
    def load(self) -> "torch.nn.Module":
        """Load the reference module: fp32, on the CPU, in eval mode, tensors in, one tensor out.

        Raises:
            WorkloadError: If the model is missing, unreadable or not trusted.
        """

    @abstractmethod
    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """Return `count` real requests of `batch_size` items each, the same ones at every call.

        Raises:
            WorkloadError: If the data can't be read; the message names file and line.
        """

    @abstractmethod
    def quality(
        self, run: Run, reference: Mapping[str, Array] | None, enough: EnoughItems | None = None
    ) -> Quality:
        """Evaluate the quality of a candidate over the workload's items.

        Args:
            run: Runs the candidate on one request.
            reference: `predictions` of the reference module; None for the reference module itself.
            enough: Called after each portion of the items; evaluation stops when it returns True.
                The metrics then cover the evaluated items only. None evaluates all items.

        Raises:
            EvaluationError: If outputs are not usable (cause "invalid output").
        """

    @property
    def primary(self) -> Metric:
        """The first of `metrics`: the metric that `quality_drop` is computed from."""
        return self.metrics[0]

    def samples(self, run: Run, quality: Quality) -> Sequence[Sample]:
        """Return example outputs for the items of `sequential.sampled`, the same ones for all.

        Args:
            run: Runs the candidate on one request.
            quality: Result of `quality` for this candidate.
        """
        return ()

    def files(self) -> "Sequence[Path]":
        """Return the files and folders of the model and the data, for the fingerprint."""
        return ()

    def save_processor(self, folder: "Path") -> None:
        """Save the tokenizer or image processor, if there is one, to a folder, for exports."""
        return
