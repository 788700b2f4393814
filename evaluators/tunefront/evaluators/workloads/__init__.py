"""The things that can be optimized, by task; a new task is one file here and its line below."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tunefront.evaluators.measures.metrics import Metric

from .base import Architecture, Array, Inputs, Quality, Run, Task, TensorSpec, Workload
from .causal_lm import CausalLM
from .custom import Custom
from .image_classification import ImageClassification
from .samples import Sample
from .spec import ARCHITECTURES, TASKS, WorkloadSpec
from .text_classification import TextClassification
from .text_embedding import TextEmbedding

WORKLOADS: Mapping[str, Callable[[WorkloadSpec], Workload]] = MappingProxyType(
    {
        "causal-lm": CausalLM,
        "text-embedding": TextEmbedding,
        "text-classification": TextClassification,
        "image-classification": ImageClassification,
        "custom": Custom,
    }
)


def build_workload(spec: WorkloadSpec) -> Workload:
    """The workload that a spec names; nothing is loaded yet."""
    return WORKLOADS[spec.task](spec)


def quality_metrics(spec: WorkloadSpec) -> Mapping[str, Metric]:
    """What the workload's quality reports, by name, the primary metric first."""
    return {metric.name: metric for metric in build_workload(spec).metrics}


__all__ = [
    "ARCHITECTURES",
    "TASKS",
    "WORKLOADS",
    "Architecture",
    "Array",
    "Inputs",
    "Quality",
    "Run",
    "Sample",
    "Task",
    "TensorSpec",
    "Workload",
    "WorkloadSpec",
    "build_workload",
    "quality_metrics",
]
