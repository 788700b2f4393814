"""The contract of a workload: the thing optimized, its data and its quality metric."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from tunefront.evaluators.interfaces.tensors import Inputs, TensorSpec
from tunefront.evaluators.statistics.arrays import Array
from tunefront.spaces.metric import Metric

from .outputs import Sample
from .quality import Quality

if TYPE_CHECKING:
    from pathlib import Path

    import torch

Run = Callable[[Inputs], Sequence[Array]]
"""A candidate as quality functions see it: one request in, the module's outputs out."""
EnoughItems = Callable[[Array, Array], bool]
"""Whether items and weights judged so far (weight 0: not yet) decide what is asked of them."""
Task = Literal[
    "causal-lm", "text-embedding", "text-classification", "image-classification", "custom"
]

Architecture = Literal["decoder", "encoder", "vision", "other"]
"""What kind of network the module is: a runtime may transform the graphs of each kind its own way.

`decoder`: a transformer that attends to earlier positions only; `encoder`: one that attends to all
positions; `vision`: a network over images; `other`: nothing is assumed.
"""


class Workload(ABC):
    """The thing optimized. Constructors only keep what they are given; the methods do the work.

    Attributes:
        task: The task's name in experiment files.
        metrics: What `quality` reports, the primary one (which `quality_drop` is about) first.
        inputs: The inputs of the module, in the order of its `forward`.
        architecture: What kind of network the module is.
    """

    task: Task
    architecture: Architecture
    metrics: tuple[Metric, ...]
    inputs: tuple[TensorSpec, ...]

    @abstractmethod
    def load(self) -> "torch.nn.Module":
        """The reference module: fp32, on the CPU, in eval mode, tensors in, one tensor out.

        Raises:
            WorkloadError: If the model can't be found, read or trusted.
        """

    @abstractmethod
    def requests(self, batch_size: int, count: int) -> list[Inputs]:
        """`count` real requests of `batch_size` items each, the same ones at every call.

        Raises:
            WorkloadError: If the data can't be read; file and line are named.
        """

    @abstractmethod
    def quality(
        self, run: Run, reference: Mapping[str, Array] | None, enough: EnoughItems | None = None
    ) -> Quality:
        """Quality over the workload's items.

        Args:
            run: The candidate.
            reference: `predictions` of the reference module, or None while they are made.
            enough: Where given, asked now and then whether the items so far will do. The metrics
                are then those of the items that were judged.

        Raises:
            EvaluationError: With the cause "invalid output" where outputs are not usable.
        """

    @property
    def primary(self) -> Metric:
        """The metric that `quality_drop` is about."""
        return self.metrics[0]

    def samples(self, run: Run, quality: Quality) -> Sequence[Sample]:
        """What a candidate answers to a few items (`portions.sampled`), the same ones for all.

        Args:
            run: The candidate.
            quality: What `quality` found of it.
        """
        return ()

    def files(self) -> "Sequence[Path]":
        """Files and folders that the model and the data come from, for the fingerprint."""
        return ()

    def save_processor(self, folder: "Path") -> None:
        """Write the tokenizer or image processor, where there is one, for exports."""
        return
